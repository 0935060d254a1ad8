//! The demo's directory: the examples of `config/`, made local, and a token a file.
//!
//! The examples are changed as data and not as text, so that a comment or an order in them
//! can change without breaking the demo. What is changed is only what must be local:
//! addresses, the issuer, where SageMaker is, where the record goes; and, if `access.yaml`
//! does not say it yet, who of the demo's people has which role.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::personas::{ISSUER, PERSONAS, Tokens};

/// The examples as `config/` has them.
#[derive(Clone, Copy, Debug)]
pub struct Examples {
    pub sagegate: &'static str,
    pub access: &'static str,
    /// `policies/*.cedar`: name and text.
    pub policies: &'static [(&'static str, &'static str)],
}

/// Where the demo's own servers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local<'a> {
    pub issuer: &'a str,
    pub runtime: &'a str,
    pub region: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error("cannot write the demo's files: {0}")]
    Io(#[from] io::Error),
    #[error("the example `{0}` is not readable: {1}")]
    Example(&'static str, String),
    #[error("the example `{0}` has no `{1}`")]
    Without(&'static str, &'static str),
}

/// A directory that only this user can read. It stays until [`remove`](Self::remove).
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn write(
        examples: Examples,
        local: Local<'_>,
        tokens: &Tokens,
    ) -> Result<Self, FilesError> {
        let files = Self { directory: new_directory(&std::env::temp_dir())? };
        let sagegate = localized(example("sagegate.yaml", examples.sagegate)?, local)?;
        let access = peopled(example("access.yaml", examples.access)?);
        files.put("sagegate.yaml", &yaml("sagegate.yaml", &sagegate)?)?;
        files.put("access.yaml", &yaml("access.yaml", &access)?)?;
        for directory in ["audit", "policies"] {
            private().create(files.path(directory))?;
        }
        for (name, text) in examples.policies {
            files.put(&format!("policies/{name}"), text)?;
        }
        for (name, token) in tokens.named() {
            files.put(&format!("{name}.jwt"), token.expose_secret())?;
        }
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// How many requests the journal holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn events(&self) -> io::Result<usize> {
        let mut lines = 0;
        for entry in fs::read_dir(self.path("audit"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let text = fs::read_to_string(path)?;
                lines += text.lines().filter(|line| line.contains(REQUEST)).count();
            }
        }
        Ok(lines)
    }

    /// # Errors
    /// When something in it cannot be removed.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.directory)
    }

    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.path(name))?;
        file.write_all(text.as_bytes())
    }
}

/// Tells the record of a request from the journal's other records.
const REQUEST: &str = r#""event_code":"request""#;

fn private() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Made here and not found, under a name that nobody can foresee: no file and no link of
/// somebody else's is in it.
fn new_directory(parent: &Path) -> io::Result<PathBuf> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let short = random.get(..8).unwrap_or(&random);
    let directory = parent.join(format!("sagegate-demo-{short}"));
    private().create(&directory)?;
    Ok(directory)
}

fn example(name: &'static str, text: &str) -> Result<Map<String, Value>, FilesError> {
    serde_saphyr::from_str(text).map_err(|error| FilesError::Example(name, error.to_string()))
}

fn yaml(name: &'static str, tree: &Map<String, Value>) -> Result<String, FilesError> {
    serde_saphyr::to_string(tree).map_err(|error| FilesError::Example(name, error.to_string()))
}

fn localized(
    mut tree: Map<String, Value>,
    local: Local<'_>,
) -> Result<Map<String, Value>, FilesError> {
    let mut issuer = tree
        .get_mut("issuers")
        .and_then(|issuers| issuers.get_mut(ISSUER))
        .map(Value::take)
        .ok_or(FilesError::Without("sagegate.yaml", "issuers.corp"))?;
    set(&mut issuer, [("issuer", Some(json!(local.issuer))), ("jwks_url", None)]);
    tree.insert("issuers".to_owned(), json!({ ISSUER: issuer }));

    let anywhere = || Some(json!("127.0.0.1:0"));
    set(section(&mut tree, "server"), [("listen", anywhere()), ("tls", None)]);
    set(section(&mut tree, "admin"), [("listen", anywhere())]);
    let (region, url) = (Some(json!(local.region)), Some(json!(local.runtime)));
    let aws = [("region", region), ("runtime_url", url), ("fips", None), ("dual_stack", None)];
    set(section(&mut tree, "aws"), aws);
    let journal = Some(json!("audit"));
    set(section(&mut tree, "audit"), [("directory", journal), ("stdout", Some(json!(false)))]);
    // The terminal is for the demo's own lines.
    set(
        section(&mut tree, "log"),
        [("level", Some(json!("warn"))), ("format", Some(json!("text")))],
    );
    tree.insert("access".to_owned(), json!("access.yaml"));
    tree.insert("policies".to_owned(), json!("policies/"));
    tree.remove("danger");
    Ok(tree)
}

/// Binds the demo's people to their roles, where nothing does yet.
fn peopled(mut tree: Map<String, Value>) -> Map<String, Value> {
    let bindings = tree.entry("bindings").or_insert_with(|| json!([]));
    for persona in &PERSONAS {
        let Some(role) = persona.role else { continue };
        let groups: Vec<_> = persona.groups.iter().map(|g| format!("{ISSUER}/{g}")).collect();
        if let Some(bindings) = bindings.as_array_mut()
            && !bindings.iter().any(|binding| binds(binding, &groups, role))
        {
            bindings.push(json!({ "groups": groups, "roles": [role] }));
        }
    }
    tree
}

fn binds(binding: &Value, groups: &[String], role: &str) -> bool {
    let has = |key: &str, name: &str| {
        binding.get(key).and_then(Value::as_array).is_some_and(|list| list.contains(&json!(name)))
    };
    has("roles", role) && groups.iter().all(|group| has("groups", group))
}

/// The mapping under `key`, made empty if there is none.
fn section<'a>(tree: &'a mut Map<String, Value>, key: &str) -> &'a mut Value {
    let section = tree.entry(key).or_insert_with(|| json!({}));
    if !section.is_object() {
        *section = json!({});
    }
    section
}

/// Sets members, or removes those that are `None`.
fn set<const N: usize>(section: &mut Value, members: [(&str, Option<Value>); N]) {
    let Some(section) = section.as_object_mut() else { return };
    for (key, value) in members {
        match value {
            Some(value) => section.insert(key.to_owned(), value),
            None => section.remove(key),
        };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    use super::super::issuer::Issuer;
    use super::*;

    pub(in crate::cli::demo) const EXAMPLES: Examples = Examples {
        sagegate: r#"
server: { listen: "0.0.0.0:8443", tls: { certificate: tls.crt, private_key: tls.key }, max_body: 25MiB }
aws: { runtime_url: null, fips: true }
issuers:
  corp: { issuer: "https://idp.example.com", audiences: [sagegate], jwks_url: "https://idp.example.com/keys", leeway: 30s }
  cluster: { issuer: "https://cluster.example.com", audiences: [sagegate] }
access: access.yaml
audit: { directory: /var/log/sagegate, stdout: true, durability: write }
"#,
        access: r#"
roles:
  data-scientist: { permit: [ { actions: [InvokeEndpoint], endpoints: ["*"] } ] }
endpoints: { fraud-v1: { tags: { environment: prod, owner: fraud } } }
bindings:
  - { groups: [corp/ds], roles: [data-scientist] }
"#,
        policies: &[("a.cedar", "// nothing\n")],
    };

    const LOCAL: Local<'_> =
        Local { issuer: "http://127.0.0.1:1", runtime: "http://127.0.0.1:2", region: "us-east-1" };

    async fn written() -> Files {
        let issuer = Issuer::start().await.unwrap();
        let tokens = Tokens::mint(&issuer, SystemTime::now()).unwrap();
        Files::write(EXAMPLES, LOCAL, &tokens).unwrap()
    }

    fn read(files: &Files, name: &'static str) -> Value {
        Value::Object(example(name, &fs::read_to_string(files.path(name)).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn what_must_be_local_is_and_the_rest_is_the_example() {
        let files = written().await;
        let expected = json!({
            "server": { "listen": "127.0.0.1:0", "max_body": "25MiB" },
            "admin": { "listen": "127.0.0.1:0" },
            "aws": { "region": "us-east-1", "runtime_url": "http://127.0.0.1:2" },
            "issuers": { "corp": {
                "issuer": "http://127.0.0.1:1", "audiences": ["sagegate"], "leeway": "30s",
            } },
            "access": "access.yaml",
            "policies": "policies/",
            "audit": { "directory": "audit", "stdout": false, "durability": "write" },
            "log": { "level": "warn", "format": "text" },
        });
        assert_eq!(read(&files, "sagegate.yaml"), expected);
        files.remove().unwrap();
    }

    #[tokio::test]
    async fn only_people_whom_nothing_binds_yet_are_added() {
        let files = written().await;
        let access = read(&files, "access.yaml");
        let bindings = json!([
            { "groups": ["corp/ds"], "roles": ["data-scientist"] },
            { "groups": ["corp/fraud"], "roles": ["fraud-caller"] },
        ]);
        let mut example = Value::Object(example("access.yaml", EXAMPLES.access).unwrap());
        example["bindings"] = bindings;
        assert_eq!(access, example);
        files.remove().unwrap();
    }

    #[tokio::test]
    async fn the_directory_is_this_users_alone_and_goes_when_told() {
        let (one, two) = (written().await, written().await);
        assert_ne!(one.directory(), two.directory());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(one.directory()), mode(&one.path("dana.jwt"))), (0o700, 0o600));
        fs::write(one.path("audit/1.jsonl"), format!("{{{REQUEST}}}\n{{}}\n").repeat(2)).unwrap();
        fs::write(one.path("audit/2.tmp"), "{}\n").unwrap();
        assert_eq!(one.events().unwrap(), 2);
        let gone = one.directory().to_owned();
        one.remove().unwrap();
        two.remove().unwrap();
        assert!(!gone.exists());
    }

    #[test]
    fn an_example_without_its_issuer_is_an_error_that_says_so() {
        let error = localized(Map::new(), LOCAL).unwrap_err();
        assert_eq!(error.to_string(), "the example `sagegate.yaml` has no `issuers.corp`");
    }
}
