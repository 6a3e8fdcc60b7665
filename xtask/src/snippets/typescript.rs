//! Blocks in TypeScript, compiled as a user's program that depends on the package for Node.
//!
//! Owns the project around a block. It must not know where the block stands.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, root};

/// Compiles the block in a project below `folder`: the program; none if the package is not built.
///
/// # Errors
/// What the compiler complains about.
pub(super) fn compile(folder: &Path, block: &str) -> Result<Option<PathBuf>> {
    let package = root().join("bindings").join("node");
    let compiler = package.join("node_modules").join(".bin").join("tsc");
    let is_built = [
        "dist/index.js",
        "npm/linux-x64-gnu/handfast.linux-x64-gnu.node",
    ]
    .iter()
    .all(|file| package.join(file).is_file());
    if !is_built || !compiler.is_file() {
        return Ok(None);
    }
    let project = folder.join("typescript");
    let modules = project.join("node_modules");
    if !modules.exists() {
        fs::create_dir_all(&modules)?;
        symlink(&package, modules.join("handfast"))?;
        fs::write(project.join("package.json"), r#"{"type": "module"}"#)?;
        fs::write(project.join("tsconfig.json"), settings(&package))?;
    }
    fs::write(project.join("block.ts"), block)?;
    let compiled = Command::new(compiler).arg("-p").arg(&project).output()?;
    if !compiled.status.success() {
        let complaint = String::from_utf8_lossy(&compiled.stdout).into_owned();
        return Err(format!("does not compile: {complaint}").into());
    }
    Ok(Some(project.join("block.js")))
}

/// As strict as the package itself is compiled, but that something may be held only to be held.
fn settings(package: &Path) -> String {
    format!(
        r#"{{
  "extends": "{package}/tsconfig.json",
  "compilerOptions": {{
    "rootDir": ".",
    "outDir": ".",
    "declaration": false,
    "noUnusedLocals": false,
    "typeRoots": ["{package}/node_modules/@types"]
  }},
  "files": ["block.ts"],
  "include": []
}}
"#,
        package = package.display()
    )
}
