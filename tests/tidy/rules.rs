//! The rules for one source file.

use super::Finding;
use super::source::{Source, Token};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
/// As in rustfmt.toml, which leaves long strings and comments alone.
const MAX_COLUMNS: usize = 110;

pub fn file_length(source: &Source) -> Vec<Finding> {
    let lines = source.code_lines().count();
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![(
        1,
        format!("{lines} lines without tests, more than {MAX_FILE_LINES}: two things live here, part them"),
    )]
}

pub fn function_length(source: &Source) -> Vec<Finding> {
    let starts = source.tokens.iter().enumerate().filter(|(_, token)| token.text == "fn");
    let long = starts.filter_map(|(index, token)| {
        let name = source.tokens.get(index + 1).filter(|next| next.text != "(")?;
        let lines = body_end(&source.tokens[index..])? - token.line + 1;
        (lines > MAX_FUNCTION_LINES).then(|| {
            let why = "nobody holds that much in mind, part it";
            (token.line, format!("fn {} has {lines} lines, more than {MAX_FUNCTION_LINES}: {why}", name.text))
        })
    });
    long.collect()
}

/// The line where the function that begins here ends, where it has a body.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    for token in tokens {
        match token.text.as_str() {
            ";" if depth == 0 => return None,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && token.text == "}" {
            return Some(token.line);
        }
    }
    None
}

pub fn line_width(source: &Source) -> Vec<Finding> {
    let wide = source.code_lines().filter(|(_, line)| line.chars().count() > MAX_COLUMNS);
    wide.map(|(number, _)| (number, format!("more than {MAX_COLUMNS} columns"))).collect()
}

/// The modules from the bottom to the top; those in one row do not know each other.
const ORDER: &[&[&str]] = &[
    &["wire", "metrics"],
    &["machine"],
    &["task", "store"],
    &["exec", "cron", "link", "http", "job", "daemon", "getinfo", "config"],
    &["handover"],
    &["gearman", "boot", "nodus", "logagent", "secureagent", "enroll"],
    &["cli"],
    &["gearctl", "nodusctl"],
    &["bin"],
];
/// What carries a machine out: it knows the shared words alone, and only the programs know it, of
/// which one is the helper in `handover`.
const REACTOR: &str = "reactor";

pub fn import_order(source: &Source) -> Vec<Finding> {
    let Some(place) = source.path.strip_prefix("src/") else { return Vec::new() };
    let module = place.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    // Those with a manifest of their own are held by that.
    if ["lib", "metrics", "package", "plugin", "plugins", "wire"].contains(&module) {
        return Vec::new();
    }
    if module != REACTOR && level(module).is_none() {
        return vec![(
            1,
            format!("{module} has no place in the order of the modules: give it one in tests/tidy/"),
        )];
    }
    let at_the_top = place.ends_with("/mod.rs") && place.matches('/').count() == 1;
    let mut roots = vec!["crate ::", "aspire ::"];
    if at_the_top {
        roots.push("super ::");
    }
    let mut findings: Vec<Finding> = source
        .find("super :: super ::")
        .map(|line| (line, "a path that climbs two floors hides where it ends: begin it with crate::".into()))
        .collect();
    for (line, name) in roots.iter().flat_map(|root| imports(&source.tokens, root)) {
        if name != module && !may_import(module, name) {
            findings.push((line, format!("{module} imports {name}: imports point down only")));
        }
    }
    findings
}

fn level(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

fn may_import(module: &str, name: &str) -> bool {
    let Some(name_level) = level(name) else {
        // An item of the library's root, or the reactor.
        return name != REACTOR || ["handover", "cli", "bin"].contains(&module);
    };
    match level(module) {
        Some(level) => name_level < level,
        None => ["machine", "wire"].contains(&name),
    }
}

/// The first names of all paths that begin with these two tokens, groups of them included.
fn imports<'a>(tokens: &'a [Token], root: &str) -> Vec<(usize, &'a str)> {
    let (word, _) = root.split_once(' ').expect("two tokens");
    let mut found = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != word || pair[1].text != "::" {
            continue;
        }
        let Some(next) = tokens.get(index + 2) else { continue };
        if next.text != "{" {
            found.push((next.line, next.text.as_str()));
            continue;
        }
        let mut depth = 0usize;
        for pair in tokens[index + 2..].windows(2) {
            match pair[0].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && ["{", ","].contains(&pair[0].text.as_str()) && pair[1].text != "}" {
                found.push((pair[1].line, pair[1].text.as_str()));
            }
        }
    }
    found
}

/// What may be used in a few places only.
struct Fence {
    /// Sources whose paths begin so are inside.
    around: &'static [&'static str],
    /// How the paths of the places begin where it may be used.
    open: &'static [&'static str],
    tokens: &'static [&'static str],
    why: &'static str,
}

const FENCES: &[Fence] = &[
    Fence {
        around: &["src/"],
        open: &["src/reactor/"],
        tokens: &["mio ::", "mio_signals ::"],
        why: "only the reactor knows how readiness is learnt",
    },
    Fence {
        around: &["src/"],
        open: &["src/reactor/tls.rs", "src/reactor/tls/", "src/package/tls.rs"],
        tokens: &["rustls ::"],
        why: "rustls has one place a crate, so that its next version costs one place",
    },
    Fence {
        around: &["src/"],
        // The second is the plugins' own: each is a program that is asked once.
        open: &["src/reactor/clock.rs", "src/plugin/clock.rs"],
        tokens: &[
            "Instant :: now",
            "SystemTime :: now",
            "Utc :: now",
            "Local :: now",
            "Timestamp :: now",
            "Zoned :: now",
            ". elapsed (",
        ],
        why: "time is an argument: only the reactor's clock reads it, so that tests can step it",
    },
    Fence {
        around: &["src/cron/"],
        open: &["src/cron/tzdata.rs"],
        tokens: &[
            "fs ::",
            "io ::",
            "env ::",
            "TimeZone :: get",
            "TimeZone :: system",
            "TimeZone :: try_system",
        ],
        why: "when something fires follows from what is handed in; the zones' rules are read in one file",
    },
    Fence {
        around: &["server/src/"],
        open: &["server/src/clock.rs"],
        tokens: &["SystemTime :: now", "UNIX_EPOCH . elapsed"],
        why: "the wall clock is read in one place",
    },
    Fence {
        around: &["src/", "server/src/"],
        open: &[
            // Between fork and exec there is only what the kernel offers.
            "src/reactor/child",
            "src/reactor/spawn",
            // A forked child that goes on in our own code.
            "src/reactor/task",
            // The rest of the system calls that no safe crate wraps.
            "src/reactor/sys.rs",
            // Where a plugin is loaded and called, and what it is called by.
            "src/reactor/plugin/call.rs",
            "src/plugin/abi.rs",
            "src/plugin/metrics.rs",
            // The C library's account databases, which are lists with a place in them.
            "src/plugins/userinfo/nss.rs",
            // adjtimex(2), which no safe crate wraps.
            "src/plugins/hostinfo/sys.rs",
            // The fork into the background.
            "src/cli/daemonize.rs",
            // The C library's account functions.
            "src/exec/account.rs",
        ],
        tokens: &["unsafe"],
        why: "unsafe is fenced in few files (the list and its reasons are in tests/tidy/rules.rs)",
    },
];

pub fn fences(source: &Source) -> Vec<Finding> {
    let begins = |starts: &[&str]| starts.iter().any(|start| source.path.starts_with(start));
    let closed = FENCES.iter().filter(|fence| begins(fence.around) && !begins(fence.open));
    let found = closed.flat_map(|fence| {
        let lines =
            fence.tokens.iter().flat_map(|tokens| source.find(tokens).map(move |line| (line, *tokens)));
        lines.map(|(line, tokens)| (line, format!("{}: {}", tokens.replace(' ', ""), fence.why)))
    });
    found.collect()
}

/// What the house does without, and what it does instead.
const UNWANTED: &[(&str, &str)] = &[
    ("Rc", "one owner per thing: hand over ids, not shared references"),
    ("RefCell", "one owner per thing: pass `&mut`"),
    ("thread_local", "state belongs to the machine or the reactor"),
    ("static mut", "state belongs to the machine or the reactor"),
    (". unwrap ( )", "use `?`, or `expect` with the invariant that makes it safe"),
    ("todo !", "unfinished"),
    ("unimplemented !", "unfinished"),
    ("dbg !", "left over from a search for a mistake"),
];

pub fn unwanted(source: &Source) -> Vec<Finding> {
    let found = UNWANTED.iter().flat_map(|(tokens, instead)| {
        source.find(tokens).map(move |line| (line, format!("{}: {instead}", tokens.replace(' ', ""))))
    });
    found.collect()
}
