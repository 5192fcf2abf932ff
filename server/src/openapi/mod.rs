//! The description of the interface, from the routes to a document and a page.
//!
//! [`utoipa`] gathers what stands beside each handler: path, parameters, bodies, answers. Here that is
//! completed with what no handler says: what requests hold method by method ([`methods`]), what the
//! wire's values look like ([`shapes`]), the refusals that all calls have in common ([`refusals`]), and
//! for whom they are ([`callers`]). [`page`] makes it readable.
//!
//! The document is not only told but kept to: a parameter that is not in it is refused
//! ([`Document::parameters`]).

mod boot;
mod callers;
mod methods;
mod page;
mod refusals;
pub mod schema;
pub mod shapes;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::openapi::OpenApi;

/// What `GET /api/openapi.json` answers begins so.
const ABOUT: &str = "\
Polaris runs a fleet of Linux hosts: people and programs ask it by these calls, and it asks the hosts.\n\n\
Bodies are JSON, unless a call says otherwise; nothing in them is passed over: an unknown field, an unknown \
parameter of a query and a key that stands twice are errors. What went wrong is a problem document (RFC \
9457) that names the field and the reason. A path that is not there is 404, a method that a path does not \
know is 405 with `Allow`. What is no HTTP is 400 and a head that is too large is 431, both without a body. \
Every answer has the call's id in `X-Request-Id`: the caller's own where it sent one. Times are RFC 3339 in \
UTC.";

const TAGS: &[(&str, &str)] = &[
    ("requests", "What hosts are to do, and what became of it."),
    ("hosts", "The inventory."),
    ("jobs", "Commands that run apart from the request that began them."),
    ("cron", "What hosts accepted into their cron tables."),
    ("daemons", "Supervised daemons, as their hosts tell of them."),
    ("boot", "Boot, the agent that installs the others: what it is to do, and what it tells of them."),
    ("tokens", "What an operator hands to a new host for its enrolment."),
    (
        "packages",
        "The document server: files that hosts fetch. By token, or by name and password; hosts by their \
                  certificates, on the agents' port.",
    ),
    ("plugins", "The catalogue of plugins: which file is which version, and for what it is."),
    ("people", "Users, their access tokens and sessions, and the log of what they did."),
    ("health", "Whether the server lives, and whether it can do its work."),
    ("description", "This."),
    (
        "agents",
        "The short exchanges of the agents' port, which is another listener: TLS 1.3 with the server's \
                own CA.",
    ),
];

/// Where an answer names what other calls are about.
struct Link {
    /// Path, method and status of the answer.
    from: (&'static str, &'static str, &'static str),
    /// The parameters of the other calls, and where in the answer their values are.
    values: &'static [(&'static str, &'static str)],
    to: &'static [&'static str],
}

const LINKS: &[Link] = &[
    Link {
        from: ("/api/v1/requests", "post", "200"),
        values: &[("id", "id")],
        to: &["requests.show", "requests.cancel"],
    },
    Link {
        from: ("/api/v1/requests", "get", "200"),
        values: &[("id", "requests/0/id")],
        to: &["requests.show", "requests.cancel"],
    },
    Link {
        from: ("/api/v1/users", "post", "201"),
        values: &[("name", "name")],
        to: &["people.show", "people.change", "people.remove", "people.tokens", "people.create_token"],
    },
    Link {
        from: ("/api/v1/plugins", "post", "201"),
        values: &[("id", "id")],
        to: &["plugins.show", "plugins.remove"],
    },
    Link { from: ("/api/v1/tokens", "post", "201"), values: &[("id", "id")], to: &["tokens.remove"] },
    Link {
        from: ("/api/v1/hosts", "get", "200"),
        values: &[("id", "hosts/0/id")],
        to: &["hosts.show", "hosts.change", "hosts.revoke", "daemons.of_host", "daemons.show"],
    },
    Link {
        from: ("/api/v1/jobs", "get", "200"),
        values: &[("host", "jobs/0/host"), ("job", "jobs/0/job")],
        to: &["jobs.show", "jobs.output"],
    },
    Link {
        from: ("/api/v1/boot/jobs", "post", "202"),
        values: &[("id", "id")],
        to: &["boot.show_job", "boot.cancel_job"],
    },
];

/// The document, ready to be sent.
pub struct Document {
    pub json: Bytes,
    /// The same as an HTML page.
    pub page: Bytes,
    /// By method and path.
    parameters: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Document {
    /// Completes what was gathered from the routes of the web listener and of the agents' port.
    pub fn new(web: &OpenApi, agents: &OpenApi) -> Document {
        let mut document = plain(web);
        let mut others = plain(agents);
        for (_, _, operation) in operations(&mut others) {
            operation["servers"] = json!([{"url": "https://{host}:{port}", "description": "The agents' port.",
                "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "8181"}}}]);
        }
        for part in ["/paths", "/components/schemas"] {
            let (Some(into), Some(from)) = (document.pointer_mut(part), others.pointer_mut(part)) else {
                continue;
            };
            into.as_object_mut().into_iter().for_each(|into| into.extend(schema::fields(from.take())));
        }
        complete(&mut document);
        Document {
            json: document.to_string().into(),
            page: page::render(&document).into(),
            parameters: parameters(&mut document),
        }
    }

    /// The names that the query of this call may have; `None` where there is no such call.
    pub fn parameters(&self, method: &str, path: &str) -> Option<&BTreeSet<String>> {
        self.parameters.get(&(method.to_ascii_lowercase(), path.replace("{*", "{")))
    }
}

fn plain(gathered: &OpenApi) -> Value {
    let mut document = serde_json::to_value(gathered).expect("it is all strings and numbers");
    // The router's way to say that a variable may hold slashes is not the document's.
    let paths = document["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    document["paths"] = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document
}

fn complete(document: &mut Value) {
    document["info"] = json!({"title": "Polaris", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
                              "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}});
    document["servers"] = json!([{"url": "/", "description": "The web listener."}]);
    let tags = TAGS.iter().map(|(name, what)| json!({"name": name, "description": what}));
    document["tags"] = tags.collect();
    document["security"] = json!([{"bearer": []}, {"basic": []}, {"session": [], "csrf": []}]);
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer",
                   "description": "A token; that of the administrator is in `admin.token` of the server's \
                                   folder."},
        "basic": {"type": "http", "scheme": "basic",
                  "description": "A name and a password, or a token in its place."},
        "session": {"type": "apiKey", "in": "cookie", "name": "polaris_session",
                    "description": "What `POST /api/v1/login` sets; over TLS it is \
                                    `__Host-polaris_session`."},
        "csrf": {"type": "apiKey", "in": "header", "name": "x-csrf-token",
                 "description": "With the cookie, for what changes something: the `csrf` of `POST \
                                 /api/v1/login`."},
    });
    for (name, schema) in all_schemas() {
        document["components"]["schemas"][name] = schema;
    }
    for (path, method, operation) in operations(document) {
        refusals::complete(path, operation);
        callers::complete(path, method, operation);
        name_operation(operation);
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            without_null(&mut parameter["schema"]);
            if let Some(what) = parameter["schema"].as_object_mut().and_then(|of| of.remove("description")) {
                parameter["description"] = what;
            }
        }
    }
    link(document);
}

fn all_schemas() -> impl Iterator<Item = (String, Value)> {
    methods::schemas().into_iter().chain(shapes::schemas()).chain(boot::schemas())
}

fn link(document: &mut Value) {
    for Link { from: (path, method, status), values, to } in LINKS {
        let parameters: Map<String, Value> = values
            .iter()
            .map(|(name, place)| ((*name).to_owned(), format!("$response.body#/{place}").into()))
            .collect();
        let response = &mut document["paths"][path][method]["responses"][status];
        for operation in *to {
            response["links"][operation] = json!({"operationId": operation, "parameters": parameters});
        }
    }
}

/// Handlers are called alike: what they are about tells them apart.
fn name_operation(operation: &mut Value) {
    let noun = operation["tags"][0].as_str().unwrap_or_default();
    let verb = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = format!("{noun}.{verb}").into();
}

/// In a query there is nothing that says null.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema["type"].as_array() {
        let kinds: Vec<_> = kinds.iter().filter(|kind| *kind != "null").cloned().collect();
        schema["type"] = if kinds.len() == 1 { kinds[0].clone() } else { kinds.into() };
    }
}

/// Path, method and operation of every call.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn parameters(document: &mut Value) -> BTreeMap<(String, String), BTreeSet<String>> {
    let names = |operation: &Value| {
        let all = operation["parameters"].as_array().into_iter().flatten();
        let query = all.filter(|parameter| parameter["in"] == "query");
        query.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect()
    };
    operations(document)
        .map(|(path, method, operation)| ((method.to_owned(), path.to_owned()), names(operation)))
        .collect()
}

#[cfg(test)]
mod tests;
