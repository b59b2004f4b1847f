//! Where DynamoDB is: the region and the endpoints, found in AWS's own order.

use super::profile::Profiles;
use crate::source::settings::DynamoDbSettings;
use reqsign_core::{Env as _, StaticEnv};
use reqwest::Url;
use riacho_core::source::machine::Fault;
use std::collections::HashMap;

/// What settings, environment and files say.
pub(super) struct Found {
    pub(super) settings: DynamoDbSettings,
    pub(super) env: StaticEnv,
    pub(super) profiles: Profiles,
}

/// Where the requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) tables: Url,
    pub(super) streams: Url,
}

impl Found {
    pub(super) fn new(settings: &DynamoDbSettings, env: StaticEnv) -> Result<Self, Fault> {
        let profiles = Profiles::read(&env).map_err(Fault::evident)?;
        let found = Self { settings: settings.clone(), env, profiles };
        // As AWS's tools: a profile that was asked for must be there.
        let asked = found.settings.profile.clone().or_else(|| found.var("AWS_PROFILE"));
        if let Some(name) = asked
            && found.profiles.section("profile", &name).is_none()
        {
            let message = format!("the profile `{name}` is in neither ~/.aws/config nor ~/.aws/credentials");
            return Err(Fault::needs_person(message, "check its name, or the home directory"));
        }
        Ok(found)
    }

    /// A variable of the environment that says something.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        self.env.var(name).filter(|value| !value.is_empty())
    }

    /// The name of the profile in use.
    pub(super) fn profile_name(&self) -> String {
        let asked = self.settings.profile.clone().or_else(|| self.var("AWS_PROFILE"));
        asked.unwrap_or_else(|| "default".to_owned())
    }

    /// A value of the profile in use.
    pub(super) fn of_profile(&self, name: &str) -> Option<String> {
        value(self.profiles.section("profile", &self.profile_name()), name)
    }

    /// The region; none: only the instance can know it.
    pub(super) fn region(&self) -> Option<String> {
        let asked = self.settings.region.clone();
        asked
            .or_else(|| self.var("AWS_REGION"))
            .or_else(|| self.var("AWS_DEFAULT_REGION"))
            .or_else(|| self.of_profile("region"))
    }

    /// The endpoints in `region`.
    pub(super) fn place(&self, region: &str) -> Result<Place, Fault> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // It becomes part of a host's name.
        if region.is_empty() || region.len() > REGION_BYTES_MAX || !region.chars().all(plain) {
            let message = format!("`{}` is no region", region.escape_default());
            return Err(Fault::needs_person(message, "a region looks like eu-west-1"));
        }
        let suffix = suffix(region);
        let tables = self.endpoint("DYNAMODB", "dynamodb");
        let streams = self.endpoint("DYNAMODB_STREAMS", "dynamodb_streams");
        Ok(Place {
            region: region.to_owned(),
            tables: url(tables.unwrap_or_else(|| format!("https://dynamodb.{region}.{suffix}")))?,
            streams: url(streams.unwrap_or_else(|| format!("https://streams.dynamodb.{region}.{suffix}")))?,
        })
    }

    fn endpoint(&self, variable: &str, service: &str) -> Option<String> {
        if let Some(endpoint) = &self.settings.endpoint {
            return Some(endpoint.clone());
        }
        let ignored = self.var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        let ignored = ignored.or_else(|| self.of_profile("ignore_configured_endpoint_urls"));
        if ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")) {
            return None;
        }
        let of_services = || {
            let services = self.of_profile("services")?;
            value(self.profiles.section("services", &services), &format!("{service}.endpoint_url"))
        };
        self.var(&format!("AWS_ENDPOINT_URL_{variable}"))
            .or_else(|| self.var("AWS_ENDPOINT_URL"))
            .or_else(of_services)
            .or_else(|| self.of_profile("endpoint_url"))
    }
}

fn value(section: Option<&HashMap<String, String>>, name: &str) -> Option<String> {
    section?.get(name).filter(|value| !value.is_empty()).cloned()
}

fn url(text: String) -> Result<Url, Fault> {
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // Not the text: it may have a password.
    url.filter(|url| url.password().is_none() && url.username().is_empty()).ok_or_else(|| {
        Fault::needs_person("the endpoint is no URL of http or https", "it looks like http://127.0.0.1:8000")
    })
}

/// What hosts' names end in, by the partition of the region.
fn suffix(region: &str) -> &'static str {
    let of = |prefix| region.starts_with(prefix);
    match () {
        () if of("cn-") => "amazonaws.com.cn",
        () if of("eusc-") => "amazonaws.eu",
        () if of("us-isob-") => "sc2s.sgov.gov",
        () if of("us-iso-") => "c2s.ic.gov",
        () => "amazonaws.com",
    }
}

const REGION_BYTES_MAX: usize = 64;
