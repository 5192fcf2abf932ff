//! A package that is on this host already becomes what it is a package of.

use crate::tool::Tools;
use crate::{Error, Kind, deb, names, rpm, tree};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

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
    /// end, it is what the files in `packages` left in the system, unfinished or in their version.
    pub package: Option<String>,
    /// The daemon's own folder, which goes if it is given.
    pub folder: Option<PathBuf>,
    /// The folder of the files that were fetched, which goes, too, if it is given.
    pub packages: Option<PathBuf>,
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
    let Uninstall { kind, package, folder, packages } = uninstall;
    let folders = [("folder", folder), ("packages", packages)];
    for (field, folder) in folders {
        folder.as_ref().map_or(Ok(()), |folder| names::check_path(field, folder))?;
    }
    match (kind, package, packages) {
        (Kind::Deb, Some(package), _) => deb::uninstall(tools, package)?,
        (Kind::Rpm, Some(package), _) => rpm::uninstall(tools, package)?,
        (Kind::Deb | Kind::Rpm, None, Some(packages)) => uninstall_files(tools, *kind, packages)?,
        (Kind::TarGz, ..) | (_, None, None) => {}
    }
    folders
        .into_iter()
        .filter_map(|(_, folder)| folder.as_ref())
        .try_for_each(|folder| tree::uninstall(folder))
}

/// Takes away what the files in a folder may have left in the system.
fn uninstall_files(tools: &Tools, kind: Kind, folder: &Path) -> Result<(), String> {
    let trouble = |error: io::Error| format!("packages: {}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(trouble)?,
    };
    for entry in entries {
        let file = entry.map_err(trouble)?.path();
        match kind {
            _ if file.to_str().and_then(Kind::of) != Some(kind) => {}
            Kind::Deb => deb::uninstall_file(tools, &file)?,
            Kind::Rpm => rpm::uninstall_file(tools, &file)?,
            Kind::TarGz => {}
        }
    }
    Ok(())
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
