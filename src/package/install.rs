//! A package that is on this host already becomes what it is a package of.

use crate::tool::Tools;
use crate::{Error, Kind, deb, names, rpm, tree};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    pub kind: Kind,
    pub file: PathBuf,
    /// For [`Kind::TarGz`]: the daemon's own folder. The archive goes to
    /// `folder/VERSION`, and the link `folder/current` leads there.
    pub folder: PathBuf,
    pub version: String,
    /// The file of the version before, to go back to. Others beside `file` go.
    pub spare: Option<PathBuf>,
}

/// What was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// What the system's tool calls it; `None` for [`Kind::TarGz`].
    pub package: Option<String>,
}

/// What to take away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninstall {
    pub kind: Kind,
    /// As [`Installed`] has it. Where it is not known, as an installation may not have come to its
    /// end, it is what the files in `packages` are packages of.
    pub package: Option<String>,
    pub folder: PathBuf,
    /// The folder of the files that were fetched, which goes, too.
    pub packages: PathBuf,
}

/// Installs a package over whatever there is of it: an older or newer version, or
/// what an interrupted installation left.
///
/// # Errors
/// It is not installed, or not to its end. With an archive, the version that
/// was there still is.
pub fn install(install: &Install) -> Result<Installed, Error> {
    install_with(&Tools::default(), install).map_err(Error::Install)
}

/// Takes a package away. Of what is not installed nothing is left to do.
///
/// # Errors
/// Some of it may still be there.
pub fn uninstall(uninstall: &Uninstall) -> Result<(), Error> {
    uninstall_with(&Tools::default(), uninstall).map_err(Error::Install)
}

pub(crate) fn install_with(tools: &Tools, install: &Install) -> Result<Installed, String> {
    names::check_path("file", &install.file)?;
    check_file(&install.file)?;
    let package = match install.kind {
        Kind::Deb => Some(deb::install(tools, &install.file)?),
        Kind::Rpm => Some(rpm::install(tools, &install.file)?),
        Kind::TarGz => {
            names::check_path("folder", &install.folder)?;
            tree::install(&install.file, &install.folder, &install.version)?;
            None
        }
    };
    remove_all_but(&install.file, install.spare.as_deref());
    Ok(Installed { package })
}

pub(crate) fn uninstall_with(tools: &Tools, uninstall: &Uninstall) -> Result<(), String> {
    names::check_path("folder", &uninstall.folder)?;
    names::check_path("packages", &uninstall.packages)?;
    let packages: Vec<String> = match &uninstall.package {
        Some(package) => vec![package.clone()],
        None => packages_of(tools, uninstall.kind, &uninstall.packages),
    };
    for package in packages {
        match uninstall.kind {
            Kind::Deb => deb::uninstall(tools, &package)?,
            Kind::Rpm => rpm::uninstall(tools, &package)?,
            Kind::TarGz => {}
        }
    }
    tree::uninstall(&uninstall.folder)?;
    tree::uninstall(&uninstall.packages)
}

/// What the files in a folder are packages of. One that is broken was never installed.
fn packages_of(tools: &Tools, kind: Kind, folder: &Path) -> Vec<String> {
    let name_of = |file: PathBuf| match kind {
        Kind::Deb if Kind::of(file.to_str()?) == Some(kind) => deb::name_of(tools, &file).ok(),
        Kind::Rpm if Kind::of(file.to_str()?) == Some(kind) => rpm::name_of(tools, &file).ok(),
        _ => None,
    };
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> = files.filter_map(name_of).collect();
    names.sort();
    names.dedup();
    names
}

/// Files of older versions. One that cannot be removed is in nobody's way.
fn remove_all_but(file: &Path, spare: Option<&Path>) {
    let Some(folder) = file.parent() else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path != file && Some(path.as_path()) != spare && entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn check_file(file: &Path) -> Result<(), String> {
    match file.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(format!("file: must be a regular file: {}", file.display())),
        Err(error) => Err(format!("file: {}: {error}", file.display())),
    }
}
