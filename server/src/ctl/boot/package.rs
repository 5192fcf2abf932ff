//! A package on its way from this machine's disk to the fleet: stored among the packages, and taken
//! into the catalogue, from where each host gets the one that fits it.

use super::super::args::Output;
use super::super::client::Client;
use super::super::error::Error;
use super::super::output::{List, printable};
use super::super::packages::{self, checked};
use super::super::plugins::PluginsAdd;
use super::super::transfer;
use crate::packages::{PackagePath, Sum};
use aspire_wire::boot::{Action, BootJob};
use aspire_wire::server_list::Server;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;

/// How packages' names spell the architectures, and how hosts do. Where a name has none of these, its
/// package is for any.
const ARCHITECTURES: [(&str, &str); 4] =
    [("amd64", "x86_64"), ("x86_64", "x86_64"), ("arm64", "aarch64"), ("aarch64", "aarch64")];

/// Brings the file to where the job's hosts find it, and says in the job which version it is. What is
/// there already, of an earlier try, is taken as it is.
pub fn publish(
    client: &Client,
    file: &Path,
    arch: Option<&str>,
    job: &mut Map<String, Value>,
    output: Output,
) -> Result<(), Error> {
    let own = file.file_name().and_then(|name| name.to_str());
    let own = own.ok_or_else(|| Error::Usage("--file: its name is not UTF-8: rename it".into()))?;
    // Before it travels: the rest of the job may be wrong.
    let (name, version) = named(job, own).map_err(|reason| Error::Usage(blamed(&reason)))?;
    let path = checked(&format!("{name}/{own}"))?;
    let sum = stored(client, file, &path, output)?;
    let plugin = PluginsAdd {
        name,
        version: version.clone(),
        file: path.to_string(),
        arch: arch.map(str::to_owned).or_else(|| arch_of(own)),
        os: None,
        checksum: Some(format!("SHA256:{sum}")),
    };
    catalogued(client, &plugin)?;
    if output == Output::Table {
        let told = format!("{path} is in the catalogue as {} {version}", plugin.name);
        writeln!(io::stderr(), "{}", printable(&told))?;
    }
    job.insert("version".into(), version.into());
    Ok(())
}

/// The agent's name and version, as the hosts will read the job.
fn named(job: &Map<String, Value>, file: &str) -> Result<(String, String), String> {
    if let Some(field) = ["url", "checksum"].iter().find(|field| job.contains_key(**field)) {
        return Err(format!("{field}: leave it out, the package is the one of --file"));
    }
    let mut whole = job.clone();
    whole.insert("id".into(), "check".into());
    whole.insert("url".into(), format!("/packages/{file}").into());
    let parsed = BootJob::parse(&Value::Object(whole).to_string()).map_err(|bad| bad.reason)?;
    let (Action::Install(wish) | Action::Upgrade(wish) | Action::UpgradeBoot(wish)) = parsed.action else {
        return Err("action: only install and upgrade have a package".into());
    };
    // Where the server is does not matter to the version.
    let server = Server { host: "localhost".into(), port: 1 };
    Ok((wish.name.clone(), wish.definition(None, &server)?.version))
}

/// What is wrong, as the command line calls it.
fn blamed(reason: &str) -> String {
    match reason.split_once(": ") {
        Some(("version", rest)) if rest.starts_with("missing") => {
            "--file: its name has no version in it, as NAME_1.2.3_amd64.deb has: give --version".into()
        }
        Some(("url", rest)) => format!("--file: {rest}"),
        _ => reason.to_owned(),
    }
}

fn stored(client: &Client, file: &Path, path: &PackagePath, output: Output) -> Result<Sum, Error> {
    if let Some((sum, _)) = packages::store(client, file, path, false, output)? {
        return Ok(sum);
    }
    let sum = transfer::sum(file)?;
    if packages::told(client, path)?.sha256 == sum.to_string() {
        return Ok(sum);
    }
    Err(Error::Local(format!(
        "{path} is there already, and is another file: give this one a name of its own, with its version"
    )))
}

fn catalogued(client: &Client, plugin: &PluginsAdd) -> Result<(), Error> {
    let refused = match client.post_at_leisure(&["plugins"], plugin) {
        Err(Error::Refused(problem)) => problem,
        other => return other.map(|_| ()),
    };
    let name = Some(plugin.name.clone());
    let mut list = List::parse(&client.get_with(&["plugins"], &[("name", &name)])?, "plugins")
        .map_err(|reason| client.not_polaris(&reason))?;
    let wanted = json!([plugin.version, plugin.arch.as_deref().unwrap_or_default(), "", plugin.file]);
    list.retain(|entry| json!([entry["version"], entry["arch"], entry["os"], entry["file"]]) == wanted);
    if list.len() == 0 { Err(Error::Refused(refused)) } else { Ok(()) }
}

/// As hosts call it; `None` where the file's name does not say it.
pub fn arch_of(file: &str) -> Option<String> {
    let words: Vec<&str> = file.split(['_', '-', '.']).collect();
    // The underscore of x86_64 is no end of a word.
    let is_in = |name: &str| words.contains(&name) || (name == "x86_64" && file.contains(name));
    ARCHITECTURES.iter().find(|(name, _)| is_in(name)).map(|(_, arch)| (*arch).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_says_what_it_is_for() {
        for (file, arch) in [
            ("gearman_0.1.0_amd64.deb", Some("x86_64")),
            ("gearman-0.1.0-1.x86_64.rpm", Some("x86_64")),
            ("gearman-0.1.0-1.aarch64.rpm", Some("aarch64")),
            ("gearman_0.1.0_arm64.deb", Some("aarch64")),
            ("gearman_0.1.0_all.deb", None),
            ("gearman-0.1.0.tar.gz", None),
            ("amd64tools_1_all.deb", None),
        ] {
            assert_eq!(arch_of(file).as_deref(), arch, "{file}");
        }
    }

    #[test]
    fn what_hosts_would_refuse_does_not_travel() {
        let job = |said: Value| {
            let Value::Object(job) = said else { panic!("{said}") };
            job
        };
        let install = |name: &str| job(json!({"action": "install", "name": name}));
        let of = |name: &str| Ok((name.to_owned(), "1.2".to_owned()));
        assert_eq!(named(&install("gearman"), "gearman_1.2_amd64.deb"), of("gearman"));
        let upgrade = job(json!({"action": "upgrade", "name": "boot", "version": "1.2"}));
        assert_eq!(named(&upgrade, "boot.deb"), of("boot"));
        for (wrong, file, reason) in [
            (install("gearman"), "gearman.deb", "version: missing"),
            (install("../x"), "x_1_all.deb", "name: "),
            (job(json!({"action": "install", "name": "a", "version": "1"})), "a_1.zip", "url: "),
            (job(json!({"action": "install", "name": "a", "user": 7.5})), "a_1_all.deb", "user"),
            (job(json!({"action": "install", "name": "a", "url": "x"})), "a_1_all.deb", "url: leave it out"),
            (job(json!({"action": "upgrade", "name": "boot", "env": {}})), "b_1_all.deb", "env: "),
        ] {
            let refused = named(&wrong, file).unwrap_err();
            assert!(refused.contains(reason), "{file}: {refused}");
        }
    }
}
