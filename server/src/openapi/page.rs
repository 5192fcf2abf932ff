//! The document as a page for people: it needs no script and nothing from elsewhere.

use askama::Template;
use serde_json::Value;

/// The page as HTML.
pub fn render(document: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tags: Vec<_> = list(&document["tags"]).iter().map(|tag| noun(document, tag)).collect();
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let page = Page {
        version: word(&document["info"]["version"]),
        about: word(&document["info"]["description"]).split("\n\n").map(pieces).collect(),
        nouns: tags.into_iter().filter(|noun| !noun.calls.is_empty()).collect(),
        shapes: schemas.map(|(name, schema)| shape(name, schema)).collect(),
        schemes: document["components"]["securitySchemes"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, scheme)| (name.clone(), pieces(&word(&scheme["description"]))))
            .collect(),
    };
    page.render().expect("text can be written")
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    version: String,
    about: Vec<Line>,
    schemes: Vec<(String, Line)>,
    nouns: Vec<Noun>,
    shapes: Vec<Shape>,
}

/// Text in pieces, for there may be code and links in it.
type Line = Vec<Piece>;

struct Piece {
    text: String,
    code: bool,
    /// The name of a schema.
    link: Option<String>,
}

/// What some calls are about.
struct Noun {
    name: String,
    what: Line,
    calls: Vec<Call>,
}

struct Call {
    id: String,
    method: String,
    path: String,
    summary: Line,
    /// In paragraphs.
    text: Vec<Line>,
    open: bool,
    parameters: Vec<Field>,
    /// Media types and what is in them.
    body: Vec<(String, Line)>,
    answers: Vec<Answer>,
}

struct Answer {
    status: String,
    what: Line,
    content: Vec<(String, Line)>,
    headers: Vec<String>,
}

struct Field {
    name: String,
    kind: Line,
    required: bool,
    text: Line,
    bounds: String,
}

/// A schema that has a name.
struct Shape {
    name: String,
    text: Line,
    /// What it is where it is no object.
    kind: Line,
    fields: Vec<Field>,
    example: String,
}

fn noun(document: &Value, tag: &Value) -> Noun {
    let name = word(&tag["name"]);
    let paths = document["paths"].as_object().into_iter().flatten();
    let calls = paths.flat_map(|(path, item)| {
        let operations = item.as_object().into_iter().flatten();
        operations.map(move |(method, operation)| (path, method, operation))
    });
    let own = calls.filter(|(_, _, operation)| operation["tags"][0] == name.as_str());
    let calls = own.map(|(path, method, operation)| call(path, method, operation)).collect();
    Noun { what: pieces(&word(&tag["description"])), name, calls }
}

fn call(path: &str, method: &str, operation: &Value) -> Call {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
        let place = word(&parameter["in"]);
        let name = format!("{} ({place})", word(&parameter["name"]));
        let required = parameter["required"] == true;
        let mut field = field(name, &parameter["schema"], required);
        if let Some(text) = parameter["description"].as_str() {
            field.text = pieces(text);
        }
        field
    });
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| Answer {
        status: status.clone(),
        what: pieces(&word(&answer["description"])),
        content: content(answer),
        headers: answer["headers"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
    });
    Call {
        id: word(&operation["operationId"]),
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: pieces(&word(&operation["summary"])),
        text: word(&operation["description"]).split("\n\n").map(pieces).collect(),
        open: operation["security"] == serde_json::json!([{}]),
        parameters: parameters.collect(),
        body: content(&operation["requestBody"]),
        answers: answers.collect(),
    }
}

fn content(of: &Value) -> Vec<(String, Line)> {
    let content = of["content"].as_object().into_iter().flatten();
    content.map(|(media, content)| (media.clone(), kind(&content["schema"]))).collect()
}

fn shape(name: &str, schema: &Value) -> Shape {
    let mut fields = Vec::new();
    gather("", schema, &mut fields);
    let example = &schema["examples"][0];
    Shape {
        name: name.to_owned(),
        text: pieces(&word(&schema["description"])),
        kind: if fields.is_empty() { kind(schema) } else { parts(schema) },
        fields,
        example: if example.is_null() { String::new() } else { format!("{example:#}") },
    }
}

/// The fields of an object, those of objects within it by their paths.
fn gather(prefix: &str, schema: &Value, into: &mut Vec<Field>) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(prefix, part, into);
    }
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        into.push(field(path.clone(), inner, required(name)));
        gather(&format!("{path}."), inner, into);
    }
}

/// The schemas whose fields an object has, too.
fn parts(schema: &Value) -> Line {
    let all = schema["allOf"].as_array().into_iter().flatten();
    let named = all.filter(|part| part["$ref"].is_string());
    joined(named.map(kind), " and ")
}

fn field(name: String, schema: &Value, required: bool) -> Field {
    Field {
        name,
        kind: kind(schema),
        required,
        text: pieces(&word(&schema["description"])),
        bounds: bounds(schema),
    }
}

/// What a value is, in a few words.
fn kind(schema: &Value) -> Line {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
        return vec![Piece { text: name.clone(), code: false, link: Some(name) }];
    }
    for (choice, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[choice].as_array().filter(|_| schema["type"].is_null()) {
            return joined(parts.iter().map(kind), between);
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        return joined(words.iter().map(|word| vec![code(word.to_string())]), ", ");
    }
    match &schema["const"] {
        Value::Null => {}
        value => return vec![code(value.to_string())],
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(word).collect(),
        Value::Null => vec!["any value".to_owned()],
        kind => vec![word(kind)],
    };
    let mut line = pieces(&kinds.join(" or "));
    if kinds.iter().any(|kind| kind == "array") {
        line.push(plain(" of "));
        line.extend(kind(&schema["items"]));
    }
    if let Some(format) = schema["format"].as_str() {
        line.push(plain(format!(" ({format})")));
    }
    line
}

fn bounds(schema: &Value) -> String {
    let mut bounds = Vec::new();
    for (least, most, of) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " fields"),
    ] {
        match (&schema[least], &schema[most]) {
            (Value::Null, Value::Null) => {}
            (least, Value::Null) => bounds.push(format!("at least {least}{of}")),
            (Value::Null, most) => bounds.push(format!("at most {most}{of}")),
            (least, most) => bounds.push(format!("{least} to {most}{of}")),
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        bounds.push(format!("matches {pattern}"));
    }
    if !schema["default"].is_null() {
        bounds.push(format!("default {}", schema["default"]));
    }
    bounds.join("; ")
}

fn joined(lines: impl Iterator<Item = Line>, between: &str) -> Line {
    let mut all = Line::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if !all.is_empty() {
            all.push(plain(between));
        }
        all.extend(line);
    }
    all
}

/// Text in which backticks enclose code.
fn pieces(text: &str) -> Line {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(n, part)| Piece { text: part.to_owned(), code: n % 2 == 1, link: None }).collect()
}

fn plain(text: impl Into<String>) -> Piece {
    Piece { text: text.into(), code: false, link: None }
}

fn code(text: String) -> Piece {
    Piece { text, code: true, link: None }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
