//! The names that travel through the corridor, each a type of its own.
//!
//! A role is never a group and a team is never a user: mixing them up must not compile.
//! Names are cheap to clone (`Arc<str>`), because every one of them ends in the record.
//! Users and groups are always qualified by their issuer (`corp/alice`), so that one
//! issuer's `admins` can never stand for another's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as what it shares, for tables that hold names of several kinds.
            pub fn shared(&self) -> &Arc<str> {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    };
}

name!(
    /// An issuer's short name, as `sagegate.yaml` gives it (`corp`), not its URL.
    Issuer
);
name!(
    /// A user, qualified: `corp/alice`.
    User
);
name!(
    /// A group, qualified: `corp/ds`.
    Group
);
name!(
    /// A role of `access.yaml`.
    Role
);
name!(
    /// A team of `access.yaml`.
    Team
);

impl User {
    /// `subject` as `issuer` calls it.
    pub fn of(issuer: &Issuer, subject: &str) -> Self {
        Self::new([issuer.as_str(), "/", subject].concat())
    }
}

impl Group {
    /// `group` as `issuer` calls it.
    pub fn of(issuer: &Issuer, group: &str) -> Self {
        Self::new([issuer.as_str(), "/", group].concat())
    }
}

/// A SageMaker endpoint name: 1 to 63 characters of `[a-zA-Z0-9](-*[a-zA-Z0-9])*`.
///
/// SageMaker's names are unique without regard to case, so equality and policy use
/// [`folded`](Self::folded); what is forwarded is [`given`](Self::given).
#[derive(Clone)]
pub struct Endpoint {
    given: Arc<str>,
    folded: Arc<str>,
}

impl Endpoint {
    /// `None` unless `name` has the shape of an endpoint name.
    pub fn parse(name: &str) -> Option<Self> {
        is_endpoint_name(name).then(|| {
            let given: Arc<str> = name.into();
            let folded = if name.bytes().any(|b| b.is_ascii_uppercase()) {
                name.to_ascii_lowercase().into()
            } else {
                Arc::clone(&given)
            };
            Self { given, folded }
        })
    }

    /// The name as the caller wrote it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The name in lower case: what policy, limits and metrics compare.
    pub fn folded(&self) -> &Arc<str> {
        &self.folded
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Endpoint {}

impl std::hash::Hash for Endpoint {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", self.given)
    }
}

/// SageMaker's name pattern, anchored on both sides (the service model's own has no `$`).
/// Endpoints, production variants and container host names share it.
pub fn is_endpoint_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// What a caller wants to do. SageMaker's own operation names, plus the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    InvokeEndpoint,
    InvokeEndpointWithResponseStream,
    InvokeEndpointAsync,
    GetAsyncResult,
    DescribeEndpoint,
    ListEndpoints,
}

impl Action {
    pub const ALL: [Self; 6] = [
        Self::InvokeEndpoint,
        Self::InvokeEndpointWithResponseStream,
        Self::InvokeEndpointAsync,
        Self::GetAsyncResult,
        Self::DescribeEndpoint,
        Self::ListEndpoints,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvokeEndpoint => "InvokeEndpoint",
            Self::InvokeEndpointWithResponseStream => "InvokeEndpointWithResponseStream",
            Self::InvokeEndpointAsync => "InvokeEndpointAsync",
            Self::GetAsyncResult => "GetAsyncResult",
            Self::DescribeEndpoint => "DescribeEndpoint",
            Self::ListEndpoints => "ListEndpoints",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of [`Action::ALL`]; names are compared with case.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an action")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == name)
            .ok_or_else(|| UnknownAction(name.to_owned()))
    }
}

/// One request's id: the same in the answer (`x-amzn-requestid`), the record and the log.
/// A UUID version 7, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id from the system's clock and random numbers.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_names_follow_the_anchored_pattern() {
        for good in ["a", "A1", "fraud-v1", "a--b", &"x".repeat(63)] {
            assert!(Endpoint::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "a_b", "a.b", "a/b", "a b", "é", "a%41", "a\n", &"x".repeat(64)]
        {
            assert!(Endpoint::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn endpoints_compare_without_case_and_keep_what_was_given() {
        let (upper, lower) = (Endpoint::parse("Fraud-V1"), Endpoint::parse("fraud-v1"));
        assert_eq!(upper, lower);
        assert_eq!(upper.map(|e| e.given().to_owned()).as_deref(), Some("Fraud-V1"));
    }

    #[test]
    fn actions_read_back_as_they_print() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().ok(), Some(action));
        }
        assert!("invokeendpoint".parse::<Action>().is_err());
    }
}
