//! Writes the definitions of all kinds, or checks that the written ones are current.
//!
//! ```text
//! crdgen --out manifests/crds      write the files
//! crdgen --check manifests/crds    fail when a file differs
//! ```

use std::{env, fs, path::Path};

use anyhow::{Context, Result, bail};
use modelfleet_crds::definitions;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--out", directory] => write(Path::new(directory)),
        ["--check", directory] => check(Path::new(directory)),
        _ => bail!("usage: crdgen --out DIR | --check DIR"),
    }
}

fn write(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for definition in definitions::all() {
        let (name, text) = definitions::manifest(&definition)?;
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn check(directory: &Path) -> Result<()> {
    let mut differing = Vec::new();
    for definition in definitions::all() {
        let (name, text) = definitions::manifest(&definition)?;
        if fs::read_to_string(directory.join(&name)).ok().as_deref() != Some(text.as_str()) {
            differing.push(name);
        }
    }
    if !differing.is_empty() {
        bail!("not current: {}; run crdgen --out {}", differing.join(", "), directory.display());
    }
    Ok(())
}
