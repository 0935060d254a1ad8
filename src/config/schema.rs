//! The JSON Schemas of the two files, generated from their types.
//!
//! They are what the files are checked against and what editors complete from; one source
//! for both, so that what an editor accepts is what the gateway accepts. The committed
//! copies in `config/` are held current by a test.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::access::Access;
use super::file::gateway::Gateway;

pub(super) static GATEWAY: LazyLock<Value> = LazyLock::new(schema::<Gateway>);
pub(super) static ACCESS: LazyLock<Value> = LazyLock::new(schema::<Access>);

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_schemas_are_current() {
        for (name, schema) in [("sagegate", &GATEWAY), ("access", &ACCESS)] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let path = root.join(format!("config/{name}.schema.json"));
            let now = format!("{}\n", serde_json::to_string_pretty(&**schema).unwrap());
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &now).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            let renew = "renew it with `UPDATE=1 cargo test --lib config::`";
            assert!(committed == now, "{} is stale: {renew}", path.display());
        }
    }
}
