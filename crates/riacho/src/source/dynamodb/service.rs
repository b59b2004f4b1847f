//! Requests to DynamoDB and its streams: JSON over HTTP, signed.
//!
//! A small client and no SDK: six reads in AWS's JSON protocol need a signature and credentials, which `reqsign-aws-v4` has
//! (environment, profiles with roles, single sign-on and programs, web identity, containers, instances). It adds 18
//! packages, 1.7 MB and 12 s of compiling to the server; `aws-sdk-dynamodb`, `aws-sdk-dynamodbstreams` and `aws-config` alone
//! are 205 packages, 16 MB and 6 min. What is throttled is for the caller to wait for; only what failed without being
//! answered is tried again here.

/// Whose requests these are.
mod credentials;
/// What went wrong.
mod error;
/// Where DynamoDB is.
mod place;
/// AWS's own files.
mod profile;
#[cfg(test)]
mod tests;

pub use error::ServiceError;

use self::{
    credentials::{Files, Givers, Programs, Way},
    place::{Found, Place},
};
use crate::source::settings::DynamoDbSettings;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest, SigningCredential, StaticEnv};
use riacho_core::{
    source::{dynamodb::request::Operation, machine::Fault},
    time::Millis,
};
use sha2::{Digest, Sha256};
use std::{
    error::Error,
    fmt::{self, Debug, Formatter, Write},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

/// An answer of status 200.
#[derive(Clone, Debug)]
pub struct Answer {
    /// JSON, at most 16 MiB.
    pub body: Bytes,
    /// The service's clock when it answered, in whole seconds.
    pub server_time: Option<Millis>,
}

/// DynamoDB and its streams in one region, with pooled connections. Many requests may be made of it at once.
pub struct Service {
    http: reqwest::Client,
    place: Place,
    signer: RequestSigner,
    context: Context,
    way: Way,
    credential: Mutex<Option<Credential>>,
}

impl Debug for Service {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("place", &self.place)
            .field("way", &self.way.name)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Finds the region, the endpoints and where credentials come from, as AWS's tools do. Nothing is asked of DynamoDB.
    ///
    /// # Errors
    ///
    /// What is not said, or contradicts itself.
    pub async fn new(settings: &DynamoDbSettings) -> Result<Self, Fault> {
        let envs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::with_env(settings, StaticEnv { home_dir: std::env::home_dir(), envs: envs.collect() }).await
    }

    /// [`Service::new`] in another environment.
    ///
    /// # Errors
    ///
    /// As [`Service::new`].
    pub async fn with_env(settings: &DynamoDbSettings, mut env: StaticEnv) -> Result<Self, Fault> {
        let settings = settings.clone();
        if let Some((id, secret)) = &settings.access_key {
            let own = [("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", &secret.0)];
            env.envs.retain(|name, _| name != "AWS_SESSION_TOKEN" && name != "AWS_PROFILE");
            env.envs.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let found = crate::source::copy::blocking(move || Found::new(&settings, env)).await??;
        let givers = givers(&found).await?;
        let context = Context::new()
            .with_env(found.env.clone())
            .with_file_read(Files)
            .with_command_execute(Programs)
            .with_http_send(givers.clone());
        let region = match found.region() {
            Some(region) => region,
            None => of_instance(&found, &context).await?,
        };
        let place = found.place(&region)?;
        let way = Way::choose(&found, &region, &context).map_err(Fault::evident)?;
        let signer = RequestSigner::new(SIGNED_AS, &region);
        Ok(Self { http: givers.http, place, signer, context, way, credential: Mutex::new(None) })
    }

    /// The region: `eu-west-1`.
    pub fn region(&self) -> &str {
        &self.place.region
    }

    /// Where requests for tables go, without credentials.
    pub fn endpoint(&self) -> &str {
        self.place.tables.as_str()
    }

    /// Asks for a read, and tries again twice where no answer came or the service failed. Dropped at any `.await`, nothing is lost.
    ///
    /// # Errors
    ///
    /// See [`ServiceError`].
    pub async fn call(&self, operation: Operation, body: impl Into<Bytes>) -> Result<Answer, ServiceError> {
        let body = body.into();
        let mut tries_left = TRIES_MORE;
        let mut renewed = false;
        loop {
            let mut used = None;
            let err = match timeout(TIME_MAX, self.once(operation, &body, &mut used)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(err)) => err,
                // The caller has waited long enough.
                Err(_) => return Err(unanswered("no answer in time")),
            };
            if err.is_of_credentials() {
                // They may have been renewed where they come from.
                if renewed || used.is_none() || !self.are_others(used.as_ref()).await {
                    return Err(err);
                }
                renewed = true;
            } else if tries_left > 0 && err.is_worth_another_try() {
                tries_left -= 1;
                let bound = BACKOFF * 4_u32.pow(TRIES_MORE - tries_left - 1);
                sleep(bound.mul_f64(jitter())).await;
            } else {
                return Err(err);
            }
        }
    }

    // Says which credential was `used`, as soon as there is one.
    async fn once(
        &self,
        operation: Operation,
        body: &Bytes,
        used: &mut Option<Credential>,
    ) -> Result<Answer, ServiceError> {
        let credential = self
            .credential()
            .await
            .map_err(|why| ServiceError::denied(operation, error::NO_CREDENTIALS, &why))?;
        let request = self.signed(operation, body, &credential).await;
        *used = Some(credential);
        let request = request?;
        let answer = self.http.execute(request).await.map_err(|err| unanswered(cause(&err)))?;
        let (status, time) = (answer.status().as_u16(), server_time(answer.headers()));
        let body = bounded(answer, BODY_BYTES_MAX).await.map_err(unanswered)?;
        if status == 200 {
            return Ok(Answer { body, server_time: time });
        }
        Err(ServiceError::parse(operation, status, &body))
    }

    async fn signed(
        &self,
        operation: Operation,
        body: &Bytes,
        credential: &Credential,
    ) -> Result<reqwest::Request, ServiceError> {
        let place = if operation.is_of_streams() { &self.place.streams } else { &self.place.tables };
        let failed = |why: String| ServiceError::Validation(format!("the request cannot be made: {why}"));
        let request = http::Request::post(place.as_str())
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", operation.target())
            .header("x-amz-content-sha256", sha256(body));
        let (mut head, ()) = request.body(()).map_err(|err| failed(err.to_string()))?.into_parts();
        let signed = self.signer.sign_request(&self.context, &mut head, Some(credential), None).await;
        signed.map_err(|err| failed(err.to_string()))?;
        mark_secret(&mut head.headers);
        let request = http::Request::from_parts(head, body.clone());
        reqwest::Request::try_from(request).map_err(|err| failed(cause(&err)))
    }

    /// What is known while it is good for two more minutes, else what is fetched; one fetches for all.
    async fn credential(&self) -> Result<Credential, String> {
        let mut known = self.credential.lock().await;
        if let Some(credential) = known.as_ref().filter(|known| known.is_valid()) {
            return Ok(credential.clone());
        }
        let fetched = self.fetch().await?;
        *known = Some(fetched.clone());
        Ok(fetched)
    }

    async fn fetch(&self) -> Result<Credential, String> {
        match self.way.provider.provide_credential_dyn(&self.context).await {
            Ok(Some(credential)) => Ok(credential),
            Ok(None) => Err(format!("{} has no credentials of AWS", self.way.name)),
            Err(err) => {
                Err(format!("no credentials of AWS from {}: {}", self.way.name, credentials::told(&err)))
            }
        }
    }

    /// Whether other credentials are found now than those that were refused. Many requests may have been refused at once:
    /// what another of them has found is not thrown away.
    async fn are_others(&self, refused: Option<&Credential>) -> bool {
        let parts = |one: &Credential| {
            (one.access_key_id.clone(), one.secret_access_key.clone(), one.session_token.clone())
        };
        let refused = refused.map(parts);
        let mut known = self.credential.lock().await;
        if known.as_ref().map(parts) == refused {
            *known = None;
        }
        drop(known);
        self.credential().await.is_ok_and(|now| Some(parts(&now)) != refused)
    }
}

/// Clients, with the roots of certificates that are asked for.
async fn givers(found: &Found) -> Result<Givers, Fault> {
    let file = found.var("AWS_CA_BUNDLE").or_else(|| found.of_profile("ca_bundle"));
    let file = file.or_else(|| found.var("SSL_CERT_FILE")).map(std::path::PathBuf::from);
    let tls = crate::source::copy::blocking(move || crate::tls::believing(file).map_err(Fault::evident));
    let tls = tls.await??;
    let client = || {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(CONNECT_TIME_MAX)
            // A signature is for one host.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("riacho/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE_TIME_MAX)
    };
    let built = |builder: reqwest::ClientBuilder| {
        let failed = |err| Fault::evident(format!("cannot make a HTTP client: {}", cause(&err)));
        builder.build().map_err(failed)
    };
    Ok(Givers {
        http: built(client())?,
        near: built(client().no_proxy().connect_timeout(NEAR_CONNECT_TIME_MAX))?,
    })
}

/// The region of the machine this runs on, if it is one of AWS's.
async fn of_instance(found: &Found, context: &Context) -> Result<String, Fault> {
    let missing = || {
        let remedy = "name it in the source's settings, in AWS_REGION, or in the profile";
        Fault::needs_person("the region of AWS is not known", remedy)
    };
    if found.var("AWS_EC2_METADATA_DISABLED").is_some_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
        return Err(missing());
    }
    let at =
        found.var("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
    let at = at.trim_end_matches('/');
    let ask = async |request: http::Result<http::Request<Bytes>>| {
        let answer = context.http_send_as_string(request.ok()?).await.ok()?;
        (answer.status() == 200).then(|| answer.into_body().trim().to_owned())
    };
    let token = http::Request::put(format!("{at}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", "60")
        .body(Bytes::new());
    let token = ask(token).await.ok_or_else(missing)?;
    let region = http::Request::get(format!("{at}/latest/meta-data/placement/region"))
        .header("x-aws-ec2-metadata-token", token)
        .body(Bytes::new());
    ask(region).await.ok_or_else(missing)
}

/// All of an answer's body, if it is not more than `bytes_max`.
async fn bounded(mut answer: reqwest::Response, bytes_max: usize) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|err| cause(&err))? {
        if body.len() + piece.len() > bytes_max {
            return Err(format!("the answer has more than {bytes_max} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn server_time(headers: &HeaderMap) -> Option<Millis> {
    let time = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn mark_secret(headers: &mut HeaderMap) {
    for name in ["authorization", "x-amz-security-token"] {
        if let Some(value) = headers.get_mut(name) {
            HeaderValue::set_sensitive(value, true);
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The innermost cause, since the outer ones only say that it failed.
fn cause(err: &reqwest::Error) -> String {
    let mut cause: &dyn Error = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn unanswered(why: impl Into<String>) -> ServiceError {
    ServiceError::Unreachable(why.into())
}

/// From 0.5 to 1, so that those who failed together do not come back together.
fn jitter() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    f64::from(random) / f64::from(u32::MAX) / 2.0 + 0.5
}

/// What both services are called in signatures.
const SIGNED_AS: &str = "dynamodb";
/// Tries after the first.
const TRIES_MORE: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(50);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Without the services' answer at once there is none.
const NEAR_CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
/// Of one try, with its credentials.
const TIME_MAX: Duration = Duration::from_secs(30);
/// AWS closes what is idle for a minute; a request on a connection that is being closed has to be tried again.
const IDLE_TIME_MAX: Duration = Duration::from_secs(45);
/// A Scan's page and a page of records are 1 MB of values, in JSON more; BatchGetItem answers 16 MB at most.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
