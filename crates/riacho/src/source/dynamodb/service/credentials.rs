//! Whose requests these are: credentials, found in the order of AWS's own tools.
//!
//! Where they come from is chosen here, from what is set; fetching them is `reqsign`'s, with our files, processes and HTTP.
//! Nothing of what is fetched is ever in a message.

use super::place::Found;
use bytes::Bytes;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider, Credential,
    ECSCredentialProvider, EnvCredentialProvider, IMDSv2CredentialProvider, ProcessCredentialProvider,
    ProfileCredentialProvider, RequestSigner, SSOCredentialProvider,
};
use reqsign_core::{
    CommandExecute, CommandOutput, Context, Error, FileRead, HttpSend, ProvideCredentialDyn, Result, Signer,
};
use std::{process::Stdio, sync::Arc, time::Duration};
use tokio::{process::Command, time::timeout};

/// A way to credentials, and what it is called.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) provider: Arc<dyn ProvideCredentialDyn<Credential = Credential>>,
}

impl Way {
    fn new(name: &'static str, provider: impl ProvideCredentialDyn<Credential = Credential>) -> Self {
        Self { name, provider: Arc::new(provider) }
    }

    /// The first that is set: AWS's tools do not go on to the next either where one fails.
    ///
    /// # Errors
    ///
    /// A profile that contradicts itself: a sentence without a stop.
    pub(super) fn choose(
        found: &Found,
        region: &str,
        context: &Context,
    ) -> std::result::Result<Self, String> {
        let keys = found.var("AWS_ACCESS_KEY_ID").is_some() && found.var("AWS_SECRET_ACCESS_KEY").is_some();
        // A profile that is asked for by name goes before the keys that are lying around.
        if keys && found.settings.profile.is_none() {
            return Ok(Self::new("the environment", EnvCredentialProvider::new()));
        }
        if let Some(way) = of_profile(found, &found.profile_name(), region, context, PROFILES_MAX)? {
            return Ok(way);
        }
        if let (Some(role), Some(file)) =
            (found.var("AWS_ROLE_ARN"), found.var("AWS_WEB_IDENTITY_TOKEN_FILE"))
        {
            return Ok(web_identity(role, &file, found.var("AWS_ROLE_SESSION_NAME"), region));
        }
        Ok(of_machine(found))
    }
}

fn of_machine(found: &Found) -> Way {
    let container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    if container.iter().any(|name| found.var(name).is_some()) {
        Way::new("the container", ECSCredentialProvider::new())
    } else {
        Way::new("the instance", IMDSv2CredentialProvider::new())
    }
}

/// What the profile `name` says, if it says anything of credentials.
fn of_profile(
    found: &Found,
    name: &str,
    region: &str,
    context: &Context,
    depth: u8,
) -> std::result::Result<Option<Way>, String> {
    let Some(profile) = found.profiles.section("profile", name) else { return Ok(None) };
    let get = |key: &str| profile.get(key).filter(|value| !value.is_empty()).cloned();
    if let Some(role) = get("role_arn") {
        if let Some(file) = get("web_identity_token_file") {
            return Ok(Some(web_identity(role, &file, get("role_session_name"), region)));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("the profile `{name}` assumes a role by too many others"));
        };
        let source = match (get("source_profile"), get("credential_source").as_deref()) {
            // A profile may name itself: the role is assumed with its own keys.
            (Some(source), _) if source == name => keys(name, get),
            (Some(source), _) => of_profile(found, &source, region, context, depth)?,
            (None, Some("Environment")) => Some(Way::new("the environment", EnvCredentialProvider::new())),
            (None, Some("EcsContainer")) => Some(Way::new("the container", ECSCredentialProvider::new())),
            (None, Some("Ec2InstanceMetadata")) => {
                Some(Way::new("the instance", IMDSv2CredentialProvider::new()))
            }
            (None, _) => None,
        };
        let source =
            source.ok_or_else(|| format!("the profile `{name}` does not say who assumes its role"))?;
        let signer = Signer::new(context.clone(), source.provider, RequestSigner::new("sts", region));
        let mut provider = AssumeRoleCredentialProvider::new(role, signer)
            .with_region(region.to_owned())
            .with_regional_sts_endpoint()
            .with_role_session_name(get("role_session_name").unwrap_or_else(|| SESSION.to_owned()));
        if let Some(id) = get("external_id") {
            provider = provider.with_external_id(id);
        }
        return Ok(Some(Way::new("the role of the profile", provider)));
    }
    Ok(sso(found, &get).or_else(|| keys(name, get)).or_else(|| {
        let command = get("credential_process")?;
        Some(Way::new("the program of the profile", ProcessCredentialProvider::new().with_command(command)))
    }))
}

fn keys(name: &str, get: impl Fn(&str) -> Option<String>) -> Option<Way> {
    get("aws_access_key_id").and(get("aws_secret_access_key"))?;
    // Read again each time they are needed: programs renew them there.
    Some(Way::new("the profile", ProfileCredentialProvider::new().with_profile(name)))
}

fn sso(found: &Found, get: &impl Fn(&str) -> Option<String>) -> Option<Way> {
    let (account, role) = (get("sso_account_id")?, get("sso_role_name")?);
    let session = get("sso_session");
    let of_session = |key: &str| {
        let section = found.profiles.section("sso-session", session.as_deref()?)?;
        section.get(key).cloned()
    };
    let region = of_session("sso_region").or_else(|| get("sso_region"))?;
    // Only the name of the file of the token is made of it, and of a session that is the session's name.
    let start = session.clone().or_else(|| get("sso_start_url"))?;
    let provider = SSOCredentialProvider::new()
        .with_account_id(account)
        .with_role_name(role)
        .with_region(region)
        .with_start_url(start);
    Some(Way::new("the single sign-on of the profile", provider))
}

fn web_identity(role: String, file: &str, session: Option<String>, region: &str) -> Way {
    let provider = AssumeRoleWithWebIdentityCredentialProvider::with_config(role, file.into())
        .with_region(region.to_owned())
        .with_regional_sts_endpoint()
        .with_role_session_name(session.unwrap_or_else(|| SESSION.to_owned()));
    Way::new("the web identity", provider)
}

/// Why credentials did not come, without what they are.
pub(super) fn told(err: &Error) -> String {
    let text = err.to_string();
    // What follows quotes what could not be parsed.
    let quotes = text.starts_with("failed to parse");
    if quotes { text.split(':').next().unwrap_or_default().to_owned() } else { text }
}

/// Reads files of tokens.
#[derive(Debug)]
pub(super) struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        tokio::fs::read(path)
            .await
            .map_err(|err| Error::config_invalid(format!("{path} cannot be read: {err}")))
    }
}

/// Runs what a profile names in `credential_process`.
#[derive(Debug)]
pub(super) struct Programs;

impl CommandExecute for Programs {
    async fn command_execute<'a>(&'a self, program: &'a str, args: &'a [&'a str]) -> Result<CommandOutput> {
        // The line was taken apart at spaces; a shell knows quotes.
        let line = [&[program], args].concat().join(" ");
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(PROGRAM_TIME_MAX, command.output()).await;
        let output = output.map_err(|_| Error::unexpected("the program of the profile takes too long"))?;
        let output = output.map_err(|err| Error::unexpected(format!("the program of the profile: {err}")))?;
        let status = output.status.code().unwrap_or(-1);
        // What it complains of is not shown: it may hold what it should not.
        Ok(CommandOutput { status, stdout: output.stdout, stderr: Vec::new() })
    }
}

/// Asks those who give credentials: over TLS like any request, at the machine itself past all proxies.
#[derive(Clone, Debug)]
pub(super) struct Givers {
    pub(super) http: reqwest::Client,
    pub(super) near: reqwest::Client,
}

impl HttpSend for Givers {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        let near = request.uri().scheme_str() != Some("https");
        let (client, time) = if near { (&self.near, NEAR_TIME_MAX) } else { (&self.http, GIVER_TIME_MAX) };
        let failed = |err: reqwest::Error| {
            Error::unexpected(format!("no answer: {}", super::cause(&err))).set_retryable(true)
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let asked = async {
            let mut answer = client.execute(request).await.map_err(failed)?;
            let mut head = http::Response::new(Bytes::new());
            *head.status_mut() = answer.status();
            *head.headers_mut() = std::mem::take(answer.headers_mut());
            let body = super::bounded(answer, GIVER_BYTES_MAX).await;
            *head.body_mut() = body.map_err(|err| Error::unexpected(format!("no answer: {err}")))?;
            Ok(head)
        };
        timeout(time, asked).await.unwrap_or_else(|_| Err(Error::unexpected("no answer in time")))
    }
}

const SESSION: &str = "riacho";
const PROFILES_MAX: u8 = 5;
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(60);
const GIVER_TIME_MAX: Duration = Duration::from_secs(15);
const NEAR_TIME_MAX: Duration = Duration::from_secs(2);
const GIVER_BYTES_MAX: usize = 256 * 1024;
