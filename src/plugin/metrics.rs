//! Plugins of metrics: the second half of `cargo-plugin.h`, and how such a plugin is written in Rust.
//!
//! A library may hold several, each under a name of its own; `NAME.so` in the plugin folder is asked
//! for the one of that name. Its life: configure, init, any number of reads, shutdown.

use crate::Failure;
use crate::abi::Answer;
use aspire_wire::Retcode;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// The names of the four functions among a library's symbols.
pub const CONFIGURE: &str = "cargo_plugin_configure";
pub const INIT: &str = "cargo_plugin_init";
pub const READ: &str = "cargo_plugin_read";
pub const SHUTDOWN: &str = "cargo_plugin_shutdown";

/// `cargo_plugin_configure`. Returns a retcode, and where it is 2 an instance.
pub type ConfigureFunction =
    unsafe extern "C" fn(*const c_char, *const c_char, *mut *mut c_void, *const Answer) -> c_int;
/// `cargo_plugin_init`. Returns a retcode.
pub type InitFunction = unsafe extern "C" fn(*mut c_void, *const Answer) -> c_int;
/// `cargo_plugin_read`. Returns a retcode.
pub type ReadFunction = unsafe extern "C" fn(*mut c_void, *const Taker, *const Answer) -> c_int;
/// `cargo_plugin_shutdown`.
pub type ShutdownFunction = unsafe extern "C" fn(*mut c_void);

/// One number: `struct cargo_value`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RawValue {
    /// `G`, `D`, `C` or `A`.
    pub kind: c_char,
    pub number: Number,
}

/// What is in it goes by the kind.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Number {
    pub gauge: f64,
    pub derive: i64,
    /// Of `C` and `A`.
    pub counter: u64,
}

/// One values list: `struct cargo_values`. No text is NULL.
#[repr(C)]
pub struct RawValues {
    pub plugin_instance: *const c_char,
    pub type_name: *const c_char,
    pub type_instance: *const c_char,
    pub values: *const RawValue,
    pub count: usize,
}

/// Where values lists go: `struct cargo_metrics`.
#[derive(Debug)]
#[repr(C)]
pub struct Taker {
    pub context: *mut c_void,
    pub dispatch: extern "C" fn(context: *mut c_void, values: *const RawValues),
}

/// A plugin of metrics. Its values are dispatched while it is read; dropping it is its shutdown.
pub trait Metrics {
    /// Opens what it needs for its whole life.
    ///
    /// # Errors
    /// It cannot work on this host.
    fn init(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads once.
    ///
    /// # Errors
    /// There is nothing to be read; what was dispatched before counts all the same.
    fn read(&mut self, to: &mut Dispatch<'_>) -> Result<(), Failure>;
}

/// Makes a plugin of its settings: a JSON object, `{}` where there are none.
pub type Configure = fn(settings: &str) -> Result<Box<dyn Metrics>, Failure>;

/// One number of a values list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Gauge(f64),
    Derive(i64),
    Counter(u64),
    Absolute(u64),
}

impl From<Value> for RawValue {
    fn from(value: Value) -> Self {
        let (kind, number) = match value {
            Value::Gauge(gauge) => (b'G', Number { gauge }),
            Value::Derive(derive) => (b'D', Number { derive }),
            Value::Counter(counter) => (b'C', Number { counter }),
            Value::Absolute(counter) => (b'A', Number { counter }),
        };
        RawValue { kind: kind.cast_signed(), number }
    }
}

/// Takes what a plugin has read. A NUL in an instance is left out.
#[derive(Debug)]
pub struct Dispatch<'a>(Way<'a>);

#[derive(Debug)]
enum Way<'a> {
    Host(&'a Taker),
    Kept(&'a mut Vec<Dispatched>),
}

/// One values list, as a test of a plugin sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatched {
    pub plugin_instance: String,
    pub type_name: String,
    pub type_instance: String,
    pub values: Vec<Value>,
}

impl<'a> Dispatch<'a> {
    /// For tests of a plugin.
    pub fn kept(lists: &'a mut Vec<Dispatched>) -> Self {
        Dispatch(Way::Kept(lists))
    }

    /// Hands over one values list. An instance that is empty is none.
    pub fn values(&mut self, plugin_instance: &str, type_name: &str, type_instance: &str, values: &[Value]) {
        match &mut self.0 {
            Way::Kept(lists) => lists.push(Dispatched {
                plugin_instance: plugin_instance.to_owned(),
                type_name: type_name.to_owned(),
                type_instance: type_instance.to_owned(),
                values: values.to_vec(),
            }),
            Way::Host(taker) => {
                let [plugin_instance, type_name, type_instance] =
                    [plugin_instance, type_name, type_instance].map(c_string);
                let values: Vec<RawValue> = values.iter().copied().map(RawValue::from).collect();
                let list = RawValues {
                    plugin_instance: plugin_instance.as_ptr(),
                    type_name: type_name.as_ptr(),
                    type_instance: type_instance.as_ptr(),
                    values: values.as_ptr(),
                    count: values.len(),
                };
                (taker.dispatch)(taker.context, &raw const list);
            }
        }
    }

    /// A list of one gauge.
    pub fn gauge(&mut self, plugin_instance: &str, type_name: &str, type_instance: &str, value: f64) {
        self.values(plugin_instance, type_name, type_instance, &[Value::Gauge(value)]);
    }

    /// A list of one number that grows by what happened.
    pub fn derive(&mut self, plugin_instance: &str, type_name: &str, type_instance: &str, value: i64) {
        self.values(plugin_instance, type_name, type_instance, &[Value::Derive(value)]);
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Makes a library of plugins of metrics.
///
/// ```
/// use aspire_plugin::Failure;
/// use aspire_plugin::metrics::{Dispatch, Metrics};
///
/// struct Answer;
///
/// impl Metrics for Answer {
///     fn read(&mut self, to: &mut Dispatch<'_>) -> Result<(), Failure> {
///         to.gauge("", "gauge", "answer", 42.0);
///         Ok(())
///     }
/// }
///
/// aspire_plugin::metrics! { "sample",
///     "answer", "what it is" => |_settings| Ok(Box::new(Answer));
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! metrics {
    ($name:literal, $($plugin:literal, $summary:literal => $configure:expr;)+) => {
        /// What this library is: see cargo-plugin.h.
        #[allow(non_upper_case_globals, reason = "the interface's name")]
        #[unsafe(no_mangle)]
        pub static cargo_plugin: $crate::abi::Descriptor = $crate::abi::Descriptor::new(
            $name,
            env!("CARGO_PKG_VERSION"),
            concat!($($plugin, " ", $summary, "\n"),+),
        );

        /// See cargo-plugin.h.
        ///
        /// # Safety
        /// The texts end with a NUL; `instance` may be written to, and `reason` called while this runs.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cargo_plugin_configure(
            plugin: *const std::ffi::c_char,
            settings: *const std::ffi::c_char,
            instance: *mut *mut std::ffi::c_void,
            reason: *const $crate::abi::Answer,
        ) -> std::ffi::c_int {
            let known = |name: &str| -> Option<$crate::metrics::Configure> {
                match name {
                    $($plugin => Some($configure),)+
                    _ => None,
                }
            };
            // SAFETY: the caller keeps to cargo-plugin.h.
            unsafe { $crate::metrics::configure(plugin, settings, instance, reason, known) }
        }

        /// See cargo-plugin.h.
        ///
        /// # Safety
        /// The instance is one that was configured and not shut down.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cargo_plugin_init(
            instance: *mut std::ffi::c_void,
            reason: *const $crate::abi::Answer,
        ) -> std::ffi::c_int {
            // SAFETY: the caller keeps to cargo-plugin.h.
            unsafe { $crate::metrics::init(instance, reason) }
        }

        /// See cargo-plugin.h.
        ///
        /// # Safety
        /// The instance is one that was configured and not shut down; `to` may be called while this runs.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cargo_plugin_read(
            instance: *mut std::ffi::c_void,
            to: *const $crate::metrics::Taker,
            reason: *const $crate::abi::Answer,
        ) -> std::ffi::c_int {
            // SAFETY: the caller keeps to cargo-plugin.h.
            unsafe { $crate::metrics::read(instance, to, reason) }
        }

        /// See cargo-plugin.h.
        ///
        /// # Safety
        /// The instance is one that was configured; it is not used again.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cargo_plugin_shutdown(instance: *mut std::ffi::c_void) {
            // SAFETY: the caller keeps to cargo-plugin.h.
            unsafe { $crate::metrics::shutdown(instance) }
        }
    };
}

/// What [`metrics!`] makes of `cargo_plugin_configure`.
///
/// # Safety
/// As `cargo_plugin_configure`.
pub unsafe fn configure(
    plugin: *const c_char,
    settings: *const c_char,
    instance: *mut *mut c_void,
    reason: *const Answer,
    known: impl Fn(&str) -> Option<Configure>,
) -> c_int {
    // SAFETY: as the caller promises.
    let (plugin, settings, reason) = unsafe { (CStr::from_ptr(plugin), CStr::from_ptr(settings), &*reason) };
    let configured = plugin
        .to_str()
        .ok()
        .and_then(known)
        .ok_or_else(|| Failure::new(Retcode::UnknownMethod, "this library has no such plugin"))
        .and_then(|configure| {
            let settings =
                settings.to_str().map_err(|error| Failure::invalid(format!("settings: {error}")))?;
            configure(settings)
        });
    match configured {
        Ok(made) => {
            // SAFETY: as the caller promises. A thin pointer to the fat one.
            unsafe { *instance = Box::into_raw(Box::new(made)).cast() };
            c_int::from(Retcode::NormalTermination.code())
        }
        Err(failure) => told(Err(failure), reason),
    }
}

/// What [`metrics!`] makes of `cargo_plugin_init`.
///
/// # Safety
/// As `cargo_plugin_init`.
pub unsafe fn init(instance: *mut c_void, reason: *const Answer) -> c_int {
    // SAFETY: `configure` made it, and as the caller promises.
    let (plugin, reason) = unsafe { (&mut *instance.cast::<Box<dyn Metrics>>(), &*reason) };
    told(plugin.init(), reason)
}

/// What [`metrics!`] makes of `cargo_plugin_read`.
///
/// # Safety
/// As `cargo_plugin_read`.
pub unsafe fn read(instance: *mut c_void, to: *const Taker, reason: *const Answer) -> c_int {
    // SAFETY: `configure` made it, and as the caller promises.
    let (plugin, to, reason) = unsafe { (&mut *instance.cast::<Box<dyn Metrics>>(), &*to, &*reason) };
    told(plugin.read(&mut Dispatch(Way::Host(to))), reason)
}

/// What [`metrics!`] makes of `cargo_plugin_shutdown`.
///
/// # Safety
/// As `cargo_plugin_shutdown`.
pub unsafe fn shutdown(instance: *mut c_void) {
    // SAFETY: `configure` made it, and nobody uses it again.
    drop(unsafe { Box::from_raw(instance.cast::<Box<dyn Metrics>>()) });
}

fn told(done: Result<(), Failure>, reason: &Answer) -> c_int {
    let retcode = match done {
        Ok(()) => Retcode::NormalTermination,
        Err(Failure { retcode, reason: text }) => {
            (reason.write)(reason.context, text.as_ptr().cast(), text.len());
            retcode
        }
    };
    c_int::from(retcode.code())
}
