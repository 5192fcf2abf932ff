//! Polaris, from a person's request to the hosts and back.
//!
//! A call arrives on the web listener ([`web`]), gets an id and is let in if
//! its caller makes no more than so many ([`throttle`]), is read and checked by the
//! noun's file in [`routes`], and, where it is a request for hosts, becomes a
//! [`requests::Live`] with one slot a host. [`agents::dispatch`] looks the
//! hosts up in [`hosts`] and hands the frame to the [`agents::hub`], which
//! knows each host's link; the link's task ([`agents::session`]) writes it and
//! puts the reply into its slot. Whoever waits is woken; the recorder
//! ([`requests::record`]) brings all of it to the [`store`] behind their back.
//! A request that may wait for hosts which are offline goes to the [`queue`],
//! whose courier takes it to each of them when it has a link. Which hosts an
//! expression means, [`targets`] knows.
//!
//! The other way round, hosts tell of their [`jobs`] and daemons: what they say
//! goes by the link's task into an inbox, from there to the store, and only then
//! is a result acknowledged.
//!
//! Hosts' [`boot`] comes by short exchanges instead: it tells of the agents that it looks after, and
//! fetches what it is to do about them.
//!
//! Files for people and hosts are in [`packages`], on either listener.
//!
//! What happens on the way is counted ([`metrics`]) for whoever watches.
//!
//! [`app`] builds these parts, [`serve`] runs them until it is told to stop.

pub mod again;
pub mod agents;
pub mod app;
pub mod boot;
pub mod clock;
pub mod config;
pub mod ctl;
pub mod hosts;
pub mod jobs;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod packages;
pub mod people;
pub mod pki;
pub mod problem;
pub mod queue;
pub mod requests;
pub mod routes;
pub mod serve;
pub mod store;
mod strict_json;
pub mod targets;
pub mod throttle;
pub mod unbroken;
pub mod web;
