//! The server as its callers see it: real listeners on ports of their own, a
//! real database of its own, and agents that speak real TLS. The database is a
//! SQLite file, or with `POLARIS_TEST_DATABASE=mysql` one of a real MariaDB.
//! Nothing here waits for a time to pass in the hope that something happens:
//! it waits for the thing, with [`common::PATIENCE`] for the worst machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod common;
mod database;
mod documented;
mod mariadb;
mod people;
mod program;

mod access_tokens;
mod acks;
mod audit;
mod boot;
mod ca_key;
mod calls;
mod cancel;
mod certificates;
mod confirm;
mod crashes;
mod cron;
mod crowds;
mod ctl_people;
mod daemons;
mod enrolment;
mod facts;
mod fuzzed;
mod hangups;
mod history;
mod identity;
mod interface;
mod inventory;
mod jobs;
mod lifecycle;
mod links;
mod live;
mod logs;
mod metrics;
mod mysql;
mod pace;
mod packages;
mod plugins;
mod queue;
mod refusals;
mod requests;
mod revocation;
mod roles;
mod rollout_ends;
mod rollouts;
mod scopes;
mod sessions;
mod throttle;
mod users;
