//! `sagegate explain`: one decision, made by the code that enforces it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::load::{load, metrics, say, say_error};
use super::{ConfigFile, USAGE};
use crate::limits::{Limit, LimitsConfig};
use crate::names::{Action, Endpoint, Group, Issuer, User};
use crate::policy::{Policy, Query, TargetNames, Verdict};

/// Denied, and nothing went wrong.
const DENIED: u8 = 3;

/// In two lines: clap's own is one that no terminal has room for.
const USAGE_LINES: &str = "sagegate explain --issuer <ISSUER> --user <USER> [--group <GROUP>]...
                        --action <ACTION> --endpoint <ENDPOINT> [OPTIONS]";

/// Who asks for what.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE_LINES)]
pub(super) struct Question {
    #[command(flatten)]
    config: ConfigFile,
    /// The issuer's name in the configuration.
    #[arg(long)]
    issuer: String,
    /// The user as the issuer calls it, without `ISSUER/`.
    #[arg(long)]
    user: String,
    /// A group as the issuer calls it, without `ISSUER/`. May be given more than once.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The operation that is called.
    #[arg(long, value_parser = action())]
    action: Action,
    /// The endpoint that is called.
    #[arg(long, value_parser = endpoint)]
    endpoint: Endpoint,
    /// As in the header X-Amzn-SageMaker-Target-Variant.
    #[arg(long, value_name = "NAME")]
    target_variant: Option<String>,
    /// As in the header X-Amzn-SageMaker-Target-Model.
    #[arg(long, value_name = "NAME")]
    target_model: Option<String>,
    /// As in the header X-Amzn-SageMaker-Inference-Component.
    #[arg(long, value_name = "NAME")]
    inference_component: Option<String>,
    /// As in the header X-Amzn-SageMaker-Target-Container-Hostname.
    #[arg(long, value_name = "NAME")]
    container_hostname: Option<String>,
    /// As in the header X-Amzn-SageMaker-InputLocation.
    #[arg(long, value_name = "URL")]
    input_location: Option<String>,
    /// As in the header X-Amzn-SageMaker-S3OutputPathExtension.
    #[arg(long, value_name = "PATH")]
    output_extension: Option<String>,
    /// The caller's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    source_ip: IpAddr,
    /// As in the header X-Sagegate-Team.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// The token's `jti`.
    #[arg(long)]
    token_id: Option<String>,
    /// Decide as if the endpoint had these tags and no others. May be given more than once.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
}

pub(super) fn explain(question: &Question) -> ExitCode {
    let loaded = match metrics().and_then(|metrics| load(&question.config.path, &metrics)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let issuer = Issuer::new(question.issuer.as_str());
    if !loaded.issuers.iter().any(|known| known.name == issuer) {
        let names: Vec<_> = loaded.issuers.iter().map(|known| known.name.as_str()).collect();
        say_error(&format!("error: no issuer `{issuer}`; there is {}", names.join(", ")));
        return ExitCode::from(USAGE);
    }
    question.note_doubled_issuer();
    let verdict = question.put_to(&loaded.policy, &issuer);
    match serde_json::to_string_pretty(&question.answer(&verdict, &loaded.limits)) {
        Ok(json) => say(&json),
        Err(error) => {
            say_error(&error);
            return ExitCode::FAILURE;
        }
    }
    if verdict.is_permit() { ExitCode::SUCCESS } else { ExitCode::from(DENIED) }
}

/// The decision, and the limits that the call would then be held to.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    limits: Vec<HeldTo<'a>>,
}

#[derive(Debug, Serialize)]
struct HeldTo<'a> {
    name: &'a str,
    allows: String,
    from: String,
}

impl Question {
    fn answer<'a>(&'a self, verdict: &'a Verdict, limits: &'a LimitsConfig) -> Answer<'a> {
        let applying = limits.applying(verdict.team.as_ref(), self.action, &self.endpoint);
        let held_to = |limit: &'a Limit| HeldTo {
            name: &limit.name,
            allows: limit.to_string(),
            from: limit.origin.to_string(),
        };
        let limits = applying.filter(|_| verdict.is_permit()).map(held_to).collect();
        Answer { verdict, limits }
    }

    /// `access.yaml` spells `issuer/name`, and here the issuer is given once: a name that
    /// repeats it may be meant, and then nothing matches. Keycloak's names can look so.
    fn note_doubled_issuer(&self) {
        let prefix = format!("{}/", self.issuer);
        for name in self.groups.iter().chain([&self.user]) {
            if name.starts_with(&prefix) {
                say_error(&format!("note: `{name}` is read as `{prefix}{name}`"));
            }
        }
    }

    fn put_to(&self, policy: &Policy, issuer: &Issuer) -> Verdict {
        let tags: BTreeMap<_, _> = self.tags.iter().cloned().collect();
        let groups: Vec<_> = self.groups.iter().map(|group| Group::of(issuer, group)).collect();
        policy.decide(&Query {
            user: &User::of(issuer, &self.user),
            groups: &groups,
            action: self.action,
            endpoint: &self.endpoint,
            targets: TargetNames {
                variant: self.target_variant.as_deref(),
                model: self.target_model.as_deref(),
                inference_component: self.inference_component.as_deref(),
                container_hostname: self.container_hostname.as_deref(),
                input_location: self.input_location.as_deref(),
                output_extension: self.output_extension.as_deref(),
            },
            source: self.source_ip,
            team: self.team.as_deref(),
            token_id: self.token_id.as_deref(),
            tags: (!tags.is_empty()).then_some(&tags),
            now: SystemTime::now(),
        })
    }
}

fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(Action::ALL.map(Action::as_str))
        .try_map(|name| name.parse::<Action>())
}

fn endpoint(name: &str) -> Result<Endpoint, String> {
    Endpoint::parse(name).ok_or_else(|| "at most 63 letters, digits and inner hyphens".to_owned())
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
