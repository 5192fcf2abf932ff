//! `facts` against the queries that it is made of, which others are compared with.

use super::ask::ask;
use super::network::network;
use hostinfo::{cpu, facts, kernel, memory, net, os};
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn facts_are_parts_of_the_queries_of_their_names() {
    let facts = ask(facts::answer);
    assert_eq!(keys(&facts), ["cpu", "kernel", "memory", "net", "os"]);
    assert_eq!(facts["os"], ask(os::answer));
    for (part, whole, fields) in [
        ("kernel", ask(kernel::answer), &["machine", "nodename", "release", "sysname", "version"][..]),
        (
            "cpu",
            ask(cpu::answer),
            &[
                "architecture",
                "cores_per_socket",
                "logical",
                "model_name",
                "sockets",
                "threads_per_core",
                "vendor",
            ],
        ),
        ("memory", ask(memory::answer), &["swap_total", "total"]),
    ] {
        assert_eq!(keys(&facts[part]), fields, "{part}");
        for field in fields {
            assert_eq!(facts[part][field], whole[field], "{part}.{field}");
        }
    }
    assert_eq!(keys(&facts["net"]), ["default_gateway", "default_interface", "interfaces", "more"]);
    let interfaces = ask(net::answer)["interfaces"].take();
    for endpoint in facts["net"]["interfaces"].as_array().unwrap() {
        let same = |one: &&Value| one["name"] == endpoint["name"];
        let interface = interfaces.as_array().unwrap().iter().find(same).unwrap();
        assert_eq!(endpoint["mac"], interface["mac"]);
    }
}

#[test]
fn the_same_host_gives_the_same_bytes() {
    let facts = facts::answer("").unwrap();
    assert!((0..20).all(|_| facts::answer("").unwrap() == facts));
    assert!(facts.len() < 4096, "{} bytes", facts.len());
}

/// The section, where these have made the network.
fn net_after(commands: &[&str]) -> Option<Value> {
    network(commands, || ask(facts::answer)["net"].take())
}

#[test]
fn of_the_network_there_is_what_others_can_reach() {
    let nothing = json!({"interfaces": [], "more": 0, "default_gateway": null, "default_interface": null});
    if let Some(net) = net_after(&["link set lo up"]) {
        assert_eq!(net, nothing);
    }
    let many = [
        "link set lo up",
        "link add z9 address 02:00:00:00:00:09 type ifb",
        "link add b1 address 02:00:00:00:00:01 type ifb",
        "link add a0 type ifb",
        "link set z9 up",
        "link set b1 up",
        "link set a0 up",
        "addr add 10.0.0.200/24 dev z9",
        "addr add 10.0.0.3/24 dev z9",
        "addr add 9.0.0.1/24 dev b1",
        "addr add fd00::1/64 dev z9 nodad",
        "addr add 169.254.1.1/16 dev a0 scope link",
        "route add default via 10.0.0.1 metric 200",
        "route add default via 9.0.0.9 metric 100",
        "-6 route add default via fd00::fe dev z9 metric 1",
    ];
    let Some(net) = net_after(&many) else { return };
    let z9 = json!([
        {"address": "10.0.0.3", "prefix": 24, "family": "inet"},
        {"address": "10.0.0.200", "prefix": 24, "family": "inet"},
        {"address": "fd00::1", "prefix": 64, "family": "inet6"},
    ]);
    let b1 = json!([{"address": "9.0.0.1", "prefix": 24, "family": "inet"}]);
    assert_eq!(
        net,
        json!({
            "interfaces": [
                {"name": "b1", "mac": "02:00:00:00:00:01", "addresses": b1, "more": 0},
                {"name": "z9", "mac": "02:00:00:00:00:09", "addresses": z9, "more": 0},
            ],
            "more": 0, "default_gateway": "9.0.0.9", "default_interface": "b1",
        })
    );
}

#[test]
fn a_default_route_of_ipv6_counts_where_there_is_no_other() {
    let commands = [
        "link add d0 type ifb",
        "link set d0 up",
        "addr add fd00::1/64 dev d0 nodad",
        "-6 route add default via fd00::fe dev d0",
    ];
    let Some(net) = net_after(&commands) else { return };
    assert_eq!((&net["default_gateway"], &net["default_interface"]), (&json!("fd00::fe"), &json!("d0")));
}

#[test]
fn a_route_that_says_that_there_is_no_way_is_no_way_to_everywhere() {
    let commands = [
        "link set lo up",
        "link add d0 type ifb",
        "link set d0 up",
        "addr add fd00::1/64 dev d0 nodad",
        "route add unreachable default metric 1",
        "-6 route add unreachable default metric 1",
    ];
    if let Some(net) = net_after(&commands) {
        assert_eq!((&net["default_gateway"], &net["default_interface"]), (&Value::Null, &Value::Null));
    }
    let with_a_way = [&commands[..], &["-6 route add default via fd00::fe dev d0 metric 9"]].concat();
    let Some(net) = net_after(&with_a_way) else { return };
    assert_eq!((&net["default_gateway"], &net["default_interface"]), (&json!("fd00::fe"), &json!("d0")));
}
