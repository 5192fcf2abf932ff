//! `polarisctl users`: who may be let in.

use super::args::Output;
use super::client::Client;
use super::error::Error;
use super::output::{self, List, printable};
use crate::limits::PASSWORD_BYTES;
use crate::people::Role;
use clap::Subcommand;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

#[derive(Debug, clap::Args)]
pub struct Users {
    #[command(subcommand)]
    pub verb: Option<UsersVerb>,
}

#[derive(Debug, Subcommand)]
pub enum UsersVerb {
    /// List them (what `users` alone does, too)
    List,
    /// Make a user; asks for the password, or reads it from standard input
    Add(UsersAdd),
    /// Change what a user may
    Set(UsersSet),
    /// Give a user a new password, which is asked for or read from standard input; all sessions end
    Password { name: String },
    /// Remove a user with all access tokens and sessions
    Remove { name: String },
}

#[derive(Debug, clap::Args)]
pub struct UsersAdd {
    pub name: String,
    #[arg(long, value_parser = Role::ALL.map(Role::name))]
    pub role: String,
    /// The hosts that the user sees and reaches, as an expression [default: all]
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// The user is let in by access tokens alone
    #[arg(long)]
    pub no_password: bool,
}

#[derive(Debug, clap::Args)]
pub struct UsersSet {
    pub name: String,
    #[arg(long, value_parser = Role::ALL.map(Role::name))]
    pub role: Option<String>,
    /// The hosts that the user sees and reaches, as an expression; '' for all
    #[arg(short = 't', long)]
    pub target: Option<String>,
    /// Let the user in no more: access tokens and sessions are of no use from now on
    #[arg(long, conflicts_with = "enable")]
    pub disable: bool,
    /// Let the user in again
    #[arg(long)]
    pub enable: bool,
}

/// The body of `POST /api/v1/users`.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

pub fn users(client: &Client, users: &Users, output: Output) -> Result<(), Error> {
    let mut err = io::stderr();
    match &users.verb {
        None | Some(UsersVerb::List) => return list(client, output),
        Some(UsersVerb::Add(user)) => {
            let password = if user.no_password { None } else { Some(password(&user.name)?) };
            let target = user.target.as_deref();
            let body = Body { name: &user.name, role: &user.role, target, password };
            client.post(&["users"], &body)?;
            writeln!(err, "user {} is there", printable(&user.name))?;
        }
        Some(UsersVerb::Set(change)) => {
            client.patch(&["users", &change.name], &change.body()?)?;
            writeln!(err, "user {} is changed", printable(&change.name))?;
        }
        Some(UsersVerb::Password { name }) => {
            let body = Map::from_iter([("password".to_owned(), Value::from(password(name)?))]);
            client.patch(&["users", name], &body)?;
            writeln!(err, "user {} has a new password", printable(name))?;
        }
        Some(UsersVerb::Remove { name }) => {
            client.delete(&["users", name])?;
            writeln!(err, "user {} is removed, with all access tokens and sessions", printable(name))?;
        }
    }
    Ok(())
}

impl UsersSet {
    fn body(&self) -> Result<Map<String, Value>, Error> {
        let mut body = Map::new();
        if let Some(role) = &self.role {
            body.insert("role".into(), role.as_str().into());
        }
        if let Some(target) = &self.target {
            let target = Some(target.as_str()).filter(|target| !target.is_empty());
            body.insert("target".into(), target.into());
        }
        if self.disable || self.enable {
            body.insert("disabled".into(), self.disable.into());
        }
        if body.is_empty() {
            return Err(Error::Usage(
                "say what is to change: --role, --target, --disable or --enable".into(),
            ));
        }
        Ok(body)
    }
}

fn list(client: &Client, output: Output) -> Result<(), Error> {
    let list = List::parse(&client.get(&["users"])?, "users");
    let list = list.map_err(|reason| client.not_polaris(&reason))?;
    list.print(output, &["NAME", "ROLE", "TARGET", "STATE", "TOKENS", "SESSIONS", "CREATED"], |user| {
        let state = match (&user["disabled"], &user["password"]) {
            (Value::Bool(true), _) => "disabled",
            (_, Value::Bool(false)) => "no password",
            _ => "enabled",
        };
        let cell = |field: &str| output::cell(&user[field]);
        vec![
            cell("name"),
            cell("role"),
            cell("target"),
            state.to_owned(),
            cell("tokens"),
            cell("sessions"),
            cell("created"),
        ]
    })
}

/// A new password: never from the command line, which others see. Without a terminal the first line of
/// standard input is one.
fn password(name: &str) -> Result<String, Error> {
    let wrong = |reason: io::Error| Error::Usage(format!("the password cannot be read: {reason}"));
    if !io::stdin().is_terminal() {
        // One byte more than there may be, and the end of the line.
        let mut line = String::new();
        let most = *PASSWORD_BYTES.end() as u64 + 3;
        io::stdin().lock().take(most).read_line(&mut line).map_err(wrong)?;
        return Ok(line.trim_end_matches('\n').trim_end_matches('\r').to_owned());
    }
    let first = rpassword::prompt_password(format!("New password of {name}: ")).map_err(wrong)?;
    let second = rpassword::prompt_password("Once more: ").map_err(wrong)?;
    if first == second { Ok(first) } else { Err(Error::Usage("the two are not the same".into())) }
}
