//! What cargo knows of the workspace and its dependencies.

use std::process::Command;

use serde_json::Value;

use crate::{Result, root};

/// One package of the dependency graph.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Where it comes from; `None` for the packages of this workspace.
    pub(crate) source: Option<String>,
    /// Names of the packages it is built with (tests' dependencies left out).
    pub(crate) dependencies: Vec<String>,
}

/// All packages that the workspace is built from.
///
/// # Errors
/// When cargo fails.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let metadata = read()?;
    Ok(list(&metadata["packages"]).map(package).collect())
}

fn read() -> Result<Value> {
    let mut command = Command::new(cargo());
    command
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root());
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn package(value: &Value) -> Package {
    let built_with = list(&value["dependencies"]).filter(|it| it["kind"] != "dev");
    Package {
        name: text(&value["name"]),
        source: value["source"].as_str().map(str::to_owned),
        dependencies: built_with.map(|it| text(&it["name"])).collect(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
