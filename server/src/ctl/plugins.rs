//! `polarisctl plugins`: the catalogue of plugins.

use super::args::Output;
use super::boot::package::arch_of;
use super::client::Client;
use super::error::Error;
use super::output::{self, List, printable};
use aspire_wire::daemon::PACKAGES;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub struct Plugins {
    #[command(subcommand)]
    pub verb: Option<PluginsVerb>,
}

#[derive(Debug, Subcommand)]
pub enum PluginsVerb {
    /// List them (what `plugins` alone does, too)
    List(PluginsList),
    /// Take a file that is among the packages into the catalogue; prints the plugin's id
    Add(PluginsAdd),
    /// Take a plugin out of the catalogue; its file stays
    Remove { id: String },
}

#[derive(Debug, Default, clap::Args)]
pub struct PluginsList {
    /// Only the plugins of this name
    pub name: Option<String>,
    /// Only those for this architecture
    #[arg(long)]
    pub arch: Option<String>,
    /// Only those for this system
    #[arg(long)]
    pub os: Option<String>,
}

/// The command line and the body of `POST /api/v1/plugins`.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct PluginsAdd {
    pub name: String,
    pub version: String,
    /// Its file, as `packages list` shows it
    pub file: String,
    /// The architecture that it is for, such as x86_64 [default: as a package's name says, or any]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The system that it is for, such as debian [default: any]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// What the file's checksum has to be, SHA256: and 64 hexadecimal digits
    #[arg(long, value_name = "SUM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl PluginsAdd {
    /// With the architecture that a package's name says, where nobody has said it.
    fn with_arch(&self) -> PluginsAdd {
        let own = self.file.rsplit('/').next().unwrap_or_default();
        let is_package = PACKAGES.iter().any(|suffix| own.ends_with(suffix));
        let arch = self.arch.clone().or_else(|| arch_of(own).filter(|_| is_package));
        PluginsAdd { arch, ..self.clone() }
    }
}

pub fn plugins(client: &Client, plugins: &Plugins, output: Output) -> Result<(), Error> {
    match &plugins.verb {
        None => list(client, &PluginsList::default(), output),
        Some(PluginsVerb::List(filter)) => list(client, filter, output),
        Some(PluginsVerb::Add(plugin)) => add(client, plugin, output),
        Some(PluginsVerb::Remove { id }) => {
            client.delete(&["plugins", id])?;
            writeln!(io::stderr(), "plugin {} is removed; its file stays", printable(id))?;
            Ok(())
        }
    }
}

fn list(client: &Client, filter: &PluginsList, output: Output) -> Result<(), Error> {
    let query = [("name", &filter.name), ("arch", &filter.arch), ("os", &filter.os)];
    let list = List::parse(&client.get_with(&["plugins"], &query)?, "plugins");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["ID", "NAME", "VERSION", "ARCH", "OS", "FILE", "CHECKSUM"], |plugin| {
        ["id", "name", "version", "arch", "os", "file", "checksum"]
            .map(|field| output::cell(&plugin[field]))
            .into()
    })
}

fn add(client: &Client, plugin: &PluginsAdd, output: Output) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Added {
        id: String,
    }
    let answer = client.post_at_leisure(&["plugins"], &plugin.with_arch())?;
    let mut out = io::stdout().lock();
    if output != Output::Table {
        output::json(&mut out, &answer)?;
        return Ok(());
    }
    let added: Added = serde_json::from_slice(&answer).map_err(|error| client.not_polaris(&error))?;
    writeln!(out, "{}", printable(&added.id))?;
    out.flush().map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::PluginsAdd;

    #[test]
    fn a_package_is_for_the_architecture_that_its_name_says() {
        for (file, said, arch) in [
            ("pool/gearman_0.1.0_amd64.deb", None, Some("x86_64")),
            ("gearman-0.1.0-1.aarch64.rpm", None, Some("aarch64")),
            ("gearman_0.1.0_amd64.deb", Some("any"), Some("any")),
            ("gearman_0.1.0_all.deb", None, None),
            ("amd64/gearman_0.1.0_all.deb", None, None),
            ("cpu_amd64.so", None, None),
        ] {
            let [name, version, file] = ["gearman", "0.1.0", file].map(str::to_owned);
            let arch_said = said.map(str::to_owned);
            let plugin = PluginsAdd { name, version, file, arch: arch_said, os: None, checksum: None };
            assert_eq!(plugin.with_arch().arch.as_deref(), arch, "{}", plugin.file);
        }
    }
}
