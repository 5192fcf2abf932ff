//! systemd, where boot runs by it.

use std::path::Path;

/// What a host that systemd runs has.
const RUNS_HERE: &str = "/run/systemd/system";
const SYSTEMD_RUN: [&str; 2] = ["/usr/bin/systemd-run", "/bin/systemd-run"];

/// The service that a process is of, by its /proc/PID/cgroup. Whoever was started there by hand is
/// not told from the service itself.
pub(super) fn unit_of(cgroups: &str) -> Option<String> {
    let of_systemd = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        ["", "name=systemd"].contains(&controllers).then_some(path.to_owned())
    };
    let path = cgroups.lines().find_map(of_systemd)?;
    // Below it are managers of users, who are others.
    let rest = path.strip_prefix("/system.slice/")?;
    let unit = rest.split('/').take_while(|part| !part.starts_with("user@")).find(|part| is_service(part))?;
    Some(unit.to_owned())
}

/// systemd-run, where systemd runs this host.
pub(super) fn systemd_run() -> Option<String> {
    let found = SYSTEMD_RUN.into_iter().find(|program| Path::new(program).is_file());
    found.filter(|_| Path::new(RUNS_HERE).is_dir()).map(str::to_owned)
}

/// A helper's arguments, its program first. In a scope of its own it is not of boot's service any
/// more, so that nothing that ends this ends it; a scope lives as long as anybody in it.
pub(super) fn helper(systemd_run: Option<&str>, copy: &Path, plan: &Path) -> Vec<String> {
    let scope = systemd_run.map(|program| [program, "--scope", "--quiet", "--collect", "--"]);
    let scope = scope.into_iter().flatten().map(str::to_owned);
    let own = [copy.display().to_string(), "--take-over".into(), plan.display().to_string()];
    scope.chain(own).collect()
}

fn is_service(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-:\\".contains(c);
    part.strip_suffix(".service").is_some_and(|stem| !stem.is_empty() && !stem.starts_with('-'))
        && part.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_found_in_either_hierarchy() {
        for (cgroups, unit) in [
            ("0::/system.slice/boot.service\n", Some("boot.service")),
            ("0::/system.slice/boot.service/aspire.agent\n", Some("boot.service")),
            ("0::/system.slice/system-boot.slice/boot@1.service\n", Some("boot@1.service")),
            ("4:memory:/x\n1:name=systemd:/system.slice/boot.service\n0::/\n", Some("boot.service")),
            ("0::/user.slice/user-0.slice/session-3.scope\n", None),
            ("0::/user.slice/user-1.slice/user@1.service/app.slice/boot.service\n", None),
            ("0::/system.slice/-x.service\n", None),
            ("0::/system.slice/a b.service\n", None),
            ("0::/system.slice/ssh.scope\n", None),
            ("0::/docker/1234\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(cgroups).as_deref(), unit, "{cgroups}");
        }
    }

    #[test]
    fn the_helper_gets_a_scope_of_its_own_where_systemd_can_make_one() {
        let (copy, plan) = (Path::new("/var/lib/s/boot"), Path::new("/var/lib/s/plan.json"));
        let own = ["/var/lib/s/boot", "--take-over", "/var/lib/s/plan.json"];
        assert_eq!(helper(None, copy, plan), own);
        let scope = ["/usr/bin/systemd-run", "--scope", "--quiet", "--collect", "--"];
        let whole: Vec<&str> = scope.into_iter().chain(own).collect();
        assert_eq!(helper(Some("/usr/bin/systemd-run"), copy, plan), whole);
    }
}
