//! A package that is on this host already becomes what it is a package of.

use crate::tool::Tools;
use crate::{Error, Kind, deb, names, rpm, tree};
use serde::{Deserialize, Serialize};
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
    /// As [`Installed`] has it.
    pub package: Option<String>,
    pub folder: PathBuf,
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
    Ok(Installed { package })
}

pub(crate) fn uninstall_with(tools: &Tools, uninstall: &Uninstall) -> Result<(), String> {
    let named = || uninstall.package.as_deref().ok_or("package: must be named, only an archive has none");
    match uninstall.kind {
        Kind::Deb => deb::uninstall(tools, named()?),
        Kind::Rpm => rpm::uninstall(tools, named()?),
        Kind::TarGz => {
            names::check_path("folder", &uninstall.folder)?;
            tree::uninstall(&uninstall.folder)
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
