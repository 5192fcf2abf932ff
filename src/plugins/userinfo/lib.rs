//! The plugin that knows the accounts of a host.
//!
//! Accounts are what the system's name service says ([`nss`]), as `getent` shows
//! them: those of a directory such as LDAP are among them where the host knows
//! them. [`users`] and [`groups`] are the queries; [`known`] is what the other
//! databases say about a user, [`password`] what is made of the shadow entry,
//! [`login_defs`] which uids are people's.

pub mod groups;
mod known;
mod login_defs;
mod nss;
mod password;
pub mod users;

aspire_plugin::plugin! { "userinfo",
    "users", "users with their groups and the state of their passwords" => users::answer;
    "groups", "groups with their members" => groups::answer;
}
