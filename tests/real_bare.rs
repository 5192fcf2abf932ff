//! From a bare host to a working one: with nothing but boot, a server and a token.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]

mod bare;
mod fleet;

use bare::Bare;
use bare::packages::{Packages, What};
use fleet::eventually;

#[test]
fn a_bare_host_s_files_packages_and_processes_are_its_own() {
    let Some(bare) = Bare::start() else { return };
    let packages = Packages::new();
    let deb = packages.deb("aspire-sample", "1.0", &[("/usr/bin/gearman", What::Script("exec sleep 1000"))]);
    bare.bring(&deb, "/sample.deb");
    assert_eq!(bare.says("ls /etc | grep cargo; ls /usr/bin | grep gear; true"), "");
    bare.says("dpkg --install /sample.deb");
    assert!(bare.says("dpkg --status aspire-sample").contains("install ok installed"));
    bare.says("(setsid gearman >/dev/null 2>&1 &)");
    eventually("the sample runs", || {
        bare.says("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").contains("sleep 1000").then_some(())
    });
    assert!(bare.read("/usr/bin/gearman").unwrap().contains("sleep"));
    let another = Bare::start().unwrap();
    assert_eq!(another.read("/usr/bin/gearman"), None);
    assert!(!another.shell("dpkg --status aspire-sample").status.success());
}
