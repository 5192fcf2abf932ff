//! `cargo bench --bench targets`: how long it takes to ask 10,000 hosts whether an expression means them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use polaris::hosts::{Facts, Greeting, Host, Section, Settings, Status};
use polaris::store::hosts::HostRow;
use polaris::targets::Target;
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

const HOSTS: u128 = 10_000;
const TURNS: usize = 21;

/// Hosts that tell as much as they may, so that what is looked for in it takes long.
const HOSTILE: u128 = 100;

fn main() {
    let hosts: Vec<Host> = (0..HOSTS).map(host).collect();
    println!("{:>10} {:>10}  target, at the median of {TURNS} turns over {HOSTS} hosts", "ms", "hosts");
    measure(
        &hosts,
        &[
            r#"region == "cn-1""#,
            r#"region == "cn-1" and tags.svc in ("ecs","rds") and name ~ "web-*" and facts.os.id == "debian""#,
            r#"facts.net.interfaces.addresses ~ "10.9.*" or facts.memory.total < 1G or not has(facts.os.id)"#,
        ],
    );
    let hosts: Vec<Host> = (0..HOSTILE).map(hostile).collect();
    println!("over {HOSTILE} hosts with 32 KiB in one text:");
    let long = format!(r#"facts.os.id ~ "*{}b*""#, "a".repeat(3000));
    let joker = format!(r#"facts.os.id ~ "*{}?b*""#, "a".repeat(120));
    measure(&hosts, &[r#"facts.os.id ~ "*a*b*c*""#, &long, &joker]);
}

fn measure(hosts: &[Host], targets: &[&str]) {
    for text in targets {
        let target = Target::parse(text).unwrap();
        let mut found = 0;
        let mut times: Vec<f64> = (0..TURNS)
            .map(|_| {
                let began = Instant::now();
                found = hosts.iter().filter(|host| target.matches(host)).count();
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let ms = times[TURNS / 2];
        let shown: String = text.chars().take(100).collect();
        println!("{ms:>10.2} {found:>10}  {shown}");
        println!("{}", json!({"bench": "targets", "target": shown, "hosts": found, "ms": ms}));
    }
}

fn hostile(n: u128) -> Host {
    let host = host(n);
    let value = json!({"id": "a".repeat(32 * 1024 - 16)}).to_string();
    host.state().facts.change("os", Some(Section::new("d", &value).unwrap()));
    host
}

/// Every second one is of the first region.
fn host(n: u128) -> Host {
    let greeting = Greeting {
        name: format!("web-{n}"),
        region: format!("cn-{}", n % 2),
        tags: [("svc".to_owned(), "ecs".to_owned())].into(),
        ..Greeting::default()
    };
    let interface = |m: u128| {
        json!({"name": format!("eth{m}"), "mtu": 1500, "state": "up",
               "addresses": [format!("10.{m}.{}.{}", n / 256, n % 256), format!("fe80::{n:x}:{m}")]})
    };
    let told = [
        ("os", json!({"id": "debian", "version_id": "12", "pretty_name": "Debian GNU/Linux 12 (bookworm)"})),
        ("memory", json!({"total": 33_285_996_544_u64, "swap_total": 0})),
        ("net", json!({"interfaces": [interface(0), interface(1)], "hostname": format!("web-{n}")})),
    ];
    let mut facts = Facts::default();
    for (name, value) in told {
        facts.change(name, Some(Section::new("d", &value.to_string()).unwrap()));
    }
    let (id, settings, status) = (Uuid::from_u128(n), Settings::default(), Status::Online);
    let host =
        Host::new(HostRow { id, settings, greeting, status, certificate: None, last_seen: None, created: 0 });
    host.state().facts = facts;
    host
}
