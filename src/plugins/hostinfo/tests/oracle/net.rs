//! `net` against ip and ss: on this machine, and in networks made for it.

use super::ask::{not_seen, run, run_json, settled};
use super::network::network;
use hostinfo::net;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What ip makes of other things and shows among the flags.
const IPS_OWN: &[&str] = &["NO-CARRIER", "M-DOWN"];

/// An interface as `ip -j addr` has it, in our words.
fn interface(shown: &Value) -> Value {
    let flags: Vec<&str> = list(&shown["flags"]).iter().map(|flag| flag.as_str().unwrap()).collect();
    let mut ours: Vec<&str> = flags.iter().copied().filter(|flag| !IPS_OWN.contains(flag)).collect();
    // ip says the opposite of it, of interfaces that are up.
    if flags.contains(&"UP") && !flags.contains(&"NO-CARRIER") {
        ours.push("RUNNING");
    }
    ours.sort_unstable();
    let addresses: Vec<Value> = list(&shown["addr_info"])
        .iter()
        .map(|address| {
            json!({
                "address": address["local"], "prefix": address["prefixlen"], "family": address["family"],
                "scope": address["scope"], "temporary": address["temporary"] == true,
            })
        })
        .collect();
    let tunnel = ["sit", "tunnel", "tunnel6", "gre", "gre6"].iter().any(|kind| shown["link_type"] == *kind);
    json!({
        "name": shown["ifname"], "index": shown["ifindex"], "mtu": shown["mtu"],
        "mac": if tunnel { &Value::Null } else { &shown["address"] },
        "state": shown["operstate"].as_str().unwrap().to_lowercase(), "flags": ours, "addresses": addresses,
    })
}

fn compare_interfaces() -> Option<Value> {
    let (shown, mut answer) = settled(|| run_json("ip", &["-j", "addr"]), net::answer)?;
    let mut expected: Vec<Value> = list(&shown).iter().map(interface).collect();
    expected.sort_by_key(|interface| interface["index"].as_u64());
    for interface in answer["interfaces"].as_array_mut().unwrap() {
        let flags = interface["flags"].as_array_mut().unwrap();
        flags.sort_by_key(ToString::to_string);
    }
    assert_eq!(answer["interfaces"], json!(expected));
    Some(answer["interfaces"].take())
}

/// A route as `ip -j route` has it, in our words: one for each gateway.
fn routes_of(family: &str, shown: &Value) -> Vec<Value> {
    let destination = match shown["dst"].as_str().unwrap() {
        host if host != "default" && !host.contains('/') => {
            format!("{host}/{}", if family == "inet" { 32 } else { 128 })
        }
        other => other.to_owned(),
    };
    let route = |hop: &Value| {
        let gateway = if hop["via"].is_null() { &hop["gateway"] } else { &hop["via"]["host"] };
        json!({
            "destination": destination, "family": family,
            "type": if shown["type"].is_null() { "unicast" } else { shown["type"].as_str().unwrap() },
            "gateway": gateway, "interface": hop["dev"],
            "metric": shown["metric"].as_u64().unwrap_or(0), "source": shown["prefsrc"],
        })
    };
    match &shown["nexthops"] {
        Value::Null => vec![route(shown)],
        hops => list(hops).iter().map(route).collect(),
    }
}

fn compare_routes() -> Option<Value> {
    let both = || Some([run_json("ip", &["-4", "-j", "route"])?, run_json("ip", &["-6", "-j", "route"])?]);
    let ([four, six], mut answer) = settled(both, net::answer)?;
    let expected: Vec<Value> = [("inet", four), ("inet6", six)]
        .iter()
        .flat_map(|(family, routes)| list(routes).iter().flat_map(|route| routes_of(family, route)))
        .collect();
    assert_eq!(answer["routes"], json!(expected));
    Some(answer["routes"].take())
}

/// A line of `ss -Hltunpe`: protocol, state, queues, local address, peer, and words.
fn listener(line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words[4].rsplit_once(':').unwrap();
    let address = address.trim_matches(['[', ']']);
    let address = address.split('%').next().unwrap().trim_matches(['[', ']']);
    // ss writes so what takes both families.
    let address = if address == "*" { "::" } else { address };
    let uid = words.iter().find_map(|word| word.strip_prefix("uid:")).unwrap_or("0");
    // users:(("name",pid=1,fd=2),("name",pid=3,fd=4))
    let users = line.split_once("users:((").map(|(_, users)| users).unwrap_or_default();
    let mut processes: Vec<(u64, &str)> = users
        .split("),(")
        .filter_map(|user| {
            let (name, rest) = user.strip_prefix('"')?.split_once("\",pid=")?;
            Some((rest.split(',').next()?.parse().ok()?, name))
        })
        .collect();
    processes.sort_unstable();
    processes.dedup();
    let processes: Vec<Value> =
        processes.iter().map(|(pid, name)| json!({"pid": pid, "name": name})).collect();
    // Others than root do not see whose it is, which ss does not say.
    let unknown = processes.is_empty() && fs::metadata("/proc/self").unwrap().uid() != 0;
    json!({
        "protocol": words[0], "family": if address.contains(':') { "inet6" } else { "inet" },
        "address": address, "port": port.parse::<u16>().unwrap(), "uid": uid.parse::<u32>().unwrap(),
        "processes": (!unknown).then_some(processes),
    })
}

/// A process that another test has just begun has this one's sockets open until
/// it does what it is for, so that only a difference that stays is one.
fn compare_listeners() -> Option<Value> {
    let sorted = |mut listeners: Vec<Value>| {
        listeners.sort_by_key(ToString::to_string);
        listeners
    };
    for tries in 1.. {
        let (text, mut answer) = settled(|| run("ss", &["-Hltunpe"]), net::answer)?;
        let expected = sorted(text.lines().map(listener).collect());
        let answer = sorted(std::mem::take(answer["listening"].as_array_mut().unwrap()));
        if answer == expected {
            return Some(json!(answer));
        }
        assert!(tries < 100, "{answer:#?} is not {expected:#?}");
    }
    unreachable!("the last try has failed");
}

#[test]
fn this_machines_network_is_what_ip_and_ss_show() {
    compare_interfaces();
    compare_routes();
    compare_listeners();
}

#[test]
fn an_empty_network_is_that_of_ip() {
    network(&[], || {
        compare_interfaces();
        assert_eq!(compare_routes().unwrap_or(json!([])), json!([]));
        assert_eq!(compare_listeners().unwrap_or(json!([])), json!([]));
    });
}

#[test]
fn interfaces_of_many_kinds_are_those_of_ip() {
    let commands = [
        "link set lo up",
        "link add d0 address 02:00:00:00:00:01 mtu 1400 type ifb",
        "link set d0 up",
        "addr add 10.1.2.3/24 dev d0",
        "addr add 10.1.2.4/24 dev d0",
        "addr add 192.168.7.1 peer 192.168.7.2/32 dev d0",
        "addr add 169.254.1.1/16 dev d0 scope link",
        "addr add fd00:1::1/64 dev d0 nodad",
        "addr add 2001:db8::5/128 dev d0 nodad",
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link add name a-long-name.17 type bridge",
        "link set a-long-name.17 multicast off arp off",
    ];
    network(&commands, || {
        let interfaces = compare_interfaces();
        let names: Vec<&str> =
            interfaces.iter().flat_map(list).map(|interface| interface["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["lo", "d0", "v1", "v0", "a-long-name.17"]);
    });
}

#[test]
fn an_interface_without_hardware_is_that_of_ip() {
    network(&["tuntap add dev t0 mode tun", "addr add 10.8.0.1 peer 10.8.0.2 dev t0"], || {
        let interfaces = compare_interfaces().unwrap();
        assert_eq!((&interfaces[1]["name"], &interfaces[1]["mac"]), (&json!("t0"), &Value::Null));
    });
}

#[test]
fn an_address_that_is_thrown_away_again_is_that_of_ip() {
    network(&["link add d0 type veth peer name d1", "link set d1 up"], || {
        let ip = |command: &str| run("ip", &command.split(' ').collect::<Vec<_>>()).unwrap();
        // Before it is up, the kernel has none to make.
        if let Err(error) = fs::write("/proc/sys/net/ipv6/conf/d0/use_tempaddr", "2") {
            return not_seen(&format!("temporary addresses: {error}"));
        }
        ip("link set d0 up");
        ip("addr add fd00:1::1/64 dev d0 nodad mngtmpaddr");
        let interfaces = compare_interfaces().unwrap();
        let d0 = list(&interfaces).iter().find(|interface| interface["name"] == "d0").unwrap();
        let temporary = list(&d0["addresses"]).iter().filter(|address| address["temporary"] == true);
        assert_eq!(temporary.count(), 1, "{d0}");
    });
}

#[test]
fn routes_of_many_kinds_are_those_of_ip() {
    let commands = [
        "link set lo up",
        "link add d0 type ifb",
        "link add d1 type ifb",
        "addr add 10.1.2.3/24 dev d0",
        "addr add 10.9.0.1/16 dev d1",
        "addr add fd00:1::1/64 dev d0 nodad",
        "addr add fd00:2::1/64 dev d1 nodad",
        "link set d0 up",
        "link set d1 up",
        "route add default via 10.1.2.1 dev d0 metric 100",
        "route add default via 10.9.0.254 dev d1 metric 50 src 10.9.0.1",
        "route add 172.16.0.0/12 via 10.1.2.9",
        "route add 192.0.2.77 dev d1",
        "route add blackhole 198.51.100.0/24",
        "route add unreachable 203.0.113.0/24 metric 7",
        "route add prohibit 203.0.114.0/24",
        "route add 100.64.0.0/10 nexthop via 10.1.2.7 weight 2 nexthop via 10.9.0.7",
        "route add 100.127.0.0/16 via inet6 fd00:1::7 dev d0",
        "route add 10.77.0.0/16 via 10.1.2.1 table 100",
        "nexthop add id 1 via 10.1.2.77 dev d0",
        "nexthop add id 2 via 10.9.0.77 dev d1",
        "nexthop add id 3 group 1/2",
        "route add 100.99.0.0/16 nhid 1",
        "route add 100.98.0.0/16 nhid 3",
        "-6 route add default via fd00:1::fe dev d0",
        "-6 route add 2001:db8::/32 via fd00:1::9 metric 20",
        "-6 route add 2001:db8::7 dev d1",
        "-6 route add blackhole 2001:db8:1::/48",
        "-6 route add 2001:db8:2::/48 nexthop via fd00:1::7 nexthop via fd00:2::7",
        "-6 route add 2001:db8:3::/48 via fd00:1::9 table 100",
    ];
    network(&commands, || {
        let Some(routes) = compare_routes() else { return };
        let hops = list(&routes).iter().filter(|route| route["destination"] == "100.64.0.0/10");
        assert_eq!(hops.count(), 2);
        assert!(list(&routes).iter().all(|route| route["destination"] != "10.77.0.0/16"));
    });
}

#[test]
fn who_listens_is_what_ss_shows() {
    network(&["link set lo up"], || {
        let any4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
        let any6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8081)).unwrap();
        let one4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 8082)).unwrap();
        let one6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 8082)).unwrap();
        let udp4 = UdpSocket::bind((Ipv4Addr::LOCALHOST, 5353)).unwrap();
        let udp6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5354)).unwrap();
        // The one is not shared, the other a process has twice, the next is connected.
        let again = one4.try_clone().unwrap();
        let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        connected.connect((Ipv4Addr::LOCALHOST, 5353)).unwrap();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        let Some(listening) = compare_listeners() else { return };
        let mut ports: Vec<u64> = list(&listening).iter().map(|one| one["port"].as_u64().unwrap()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [5353, 5354, 8080, 8081, 8082, 8082]);
        for one in list(&listening) {
            assert_eq!(one["processes"][0]["pid"], std::process::id());
            assert!(one["address"].as_str().unwrap().parse::<IpAddr>().is_ok());
        }
        drop((any4, any6, one6, udp4, udp6, again, stream));
    });
}

/// Gives up being root, listens, and is two; both end when nobody holds their input.
const SERVER: &str = "
import os, socket, sys
os.setuid(65534)
tcp = socket.create_server(('127.0.0.1', 8443))
if os.fork():
    print('ready', flush=True)
sys.stdin.read()";

#[test]
fn a_socket_of_several_processes_is_that_of_ss() {
    network(&["link set lo up"], || {
        let mut server = Command::new("python3");
        server.args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = match server.spawn() {
            Ok(server) => server,
            Err(error) => return not_seen(&format!("a server of two processes: python3: {error}")),
        };
        let mut ready = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        if let Some(listening) = compare_listeners() {
            let one = &listening[0];
            assert_eq!((&one["port"], &one["uid"]), (&json!(8443), &json!(65534)));
            assert_eq!(list(&one["processes"]).len(), 2);
        }
        drop(server.stdin.take());
        server.wait().unwrap();
    });
}

#[test]
fn lists_are_told_that_are_asked_for_and_parts_of_them() {
    let asked = |args: &str| {
        let mut answer: Value = serde_json::from_str(&net::answer(args).unwrap()).unwrap();
        // What another test has just begun has this one's sockets for a moment.
        for one in answer["listening"].as_array_mut().into_iter().flatten() {
            one["processes"].take();
        }
        answer
    };
    let commands = [
        "link set lo up",
        "link add d0 type ifb",
        "link set d0 up",
        "addr add 10.1.2.3/24 dev d0",
        "addr add fd00:1::1/64 dev d0 nodad",
        "route add default via 10.1.2.1 dev d0",
        "-6 route add default via fd00:1::fe dev d0",
    ];
    network(&commands, || {
        let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 8081)).unwrap();
        let all = asked("");
        let lists = ["interfaces", "routes", "listening"];
        let lengths = lists.map(|name| all[name].as_array().unwrap().len());
        assert_eq!((lengths[0], lengths[2]), (2, 2));
        assert!(lengths[1] >= 4, "{all}");
        for (name, length) in lists.iter().zip(lengths) {
            assert_eq!(all["counts"][name], length);
        }
        for (args, told) in [
            ("-i", [true, false, false]),
            ("-r", [false, true, false]),
            ("-l", [false, false, true]),
            ("-il", [true, false, true]),
            ("-i -r -l", [true; 3]),
        ] {
            let some = asked(args);
            for (name, told) in lists.iter().zip(told) {
                let nothing = (&Value::Null, &Value::Null);
                let expected = if told { (&all[name], &all["counts"][name]) } else { nothing };
                assert_eq!((&some[name], &some["counts"][name]), expected, "{args} {name}");
            }
        }
        // IPv6's routes go on where those of IPv4 end.
        for offset in 0..=lengths[1] {
            let part = asked(&format!("-n 1 -o {offset}"));
            assert_eq!(part["counts"], all["counts"]);
            for name in lists {
                let expected: Vec<_> = list(&all[name]).iter().skip(offset).take(1).collect();
                assert_eq!(list(&part[name]).iter().collect::<Vec<_>>(), expected, "{name} {offset}");
            }
        }
        drop((one, other));
    });
}
