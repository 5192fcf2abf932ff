//! The system's name service: the one place with `unsafe`, and what is safe of it.
//!
//! nix has the lookups too, but not the lists, and it drops what is not UTF-8.

use aspire_plugin::{Failure, Text};
use libc::{c_char, c_long};
use nix::errno::Errno;
use nix::unistd::{Gid, getgrouplist};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The C library keeps its place in each list, and the entry it has handed out
/// last, for the whole process.
static IN_USE: Mutex<()> = Mutex::new(());

/// The right to ask. One at a time.
pub struct NameService {
    _in_use: MutexGuard<'static, ()>,
}

#[expect(clippy::unused_self, reason = "it is the right to call, not what is called with")]
impl NameService {
    pub fn open() -> Self {
        NameService { _in_use: IN_USE.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// All entries of a database, in its order.
    pub fn entries<T: Entry>(&mut self) -> Entries<'_, T> {
        // SAFETY: it takes nothing, and nobody else is in the list: `self` is the only right.
        unsafe { (T::REWIND)() };
        Entries { service: PhantomData, entry: PhantomData }
    }

    /// The first entry of this name.
    pub fn named<T: Entry>(&mut self, name: &[u8]) -> Result<Option<T>, Failure> {
        // No name has a NUL in it.
        let Ok(name) = CString::new(name) else { return Ok(None) };
        // SAFETY: a C string that outlives the call, and `self` is the only right.
        ask(|| unsafe { (T::BY_NAME)(name.as_ptr()) })
    }

    /// The first entry of this number.
    pub fn numbered<T: Numbered>(&mut self, id: u32) -> Result<Option<T>, Failure> {
        // SAFETY: it takes a number, and `self` is the only right.
        ask(|| unsafe { (T::BY_ID)(id) })
    }

    /// As chown and id take it: a name, or else a number.
    pub fn named_or_numbered<T: Numbered>(&mut self, text: &str) -> Result<Option<T>, Failure> {
        if let Some(named) = self.named(text.as_bytes())? {
            return Ok(Some(named));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse().ok().filter(|_| digits) {
            Some(id) => self.numbered(id),
            None => Ok(None),
        }
    }

    /// The gids of all groups that this user is in, the primary one first.
    pub fn group_ids(&mut self, account: &Account) -> Result<Vec<u32>, Failure> {
        let name = CString::new(account.name.as_bytes()).expect("it was a C string");
        let gids = getgrouplist(&name, Gid::from_raw(account.gid))
            .map_err(|errno| Failure::broken(format!("the groups of a user: {errno}")))?;
        Ok(gids.into_iter().map(Gid::as_raw).collect())
    }
}

/// See [`NameService::entries`]. After an error there is nothing sensible to be had.
pub struct Entries<'service, T: Entry> {
    service: PhantomData<&'service mut NameService>,
    entry: PhantomData<T>,
}

impl<T: Entry> Iterator for Entries<'_, T> {
    type Item = Result<T, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: it takes nothing, and the only right is borrowed.
        ask(|| unsafe { (T::NEXT)() }).transpose()
    }
}

impl<T: Entry> Drop for Entries<'_, T> {
    fn drop(&mut self) {
        // SAFETY: it takes nothing, and the only right is borrowed.
        unsafe { (T::END)() };
    }
}

/// One question to the C library, and a copy of what it answers.
fn ask<T: Entry>(question: impl FnOnce() -> *mut T::Raw) -> Result<Option<T>, Failure> {
    Errno::clear();
    let raw = question();
    // SAFETY: null, or the C library's own entry, which it leaves alone until it is asked again.
    match unsafe { raw.as_ref() } {
        // SAFETY: as the C library fills them in.
        Some(raw) => Ok(Some(unsafe { T::copy(raw) })),
        None => nothing(T::DATABASE, Errno::last()),
    }
}

/// No entry: there is none (more), or it could not be read. What errno is in the
/// first case differs from service to service, so it is the errors that
/// getpwent(3) lists which are taken for one.
fn nothing<T>(database: &str, errno: Errno) -> Result<Option<T>, Failure> {
    match errno {
        Errno::EINTR | Errno::EIO | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ERANGE => {
            Err(Failure::broken(format!("the {database} database: {errno}")))
        }
        _ => Ok(None),
    }
}

/// What a database is made of.
pub trait Entry: Sized {
    type Raw;
    /// As nsswitch.conf(5) calls it.
    const DATABASE: &'static str;
    const REWIND: unsafe extern "C" fn();
    const NEXT: unsafe extern "C" fn() -> *mut Self::Raw;
    const END: unsafe extern "C" fn();
    const BY_NAME: unsafe extern "C" fn(*const c_char) -> *mut Self::Raw;

    /// # Safety
    /// The entry's pointers are null or point to C strings, or to such a list as
    /// the C library makes.
    unsafe fn copy(raw: &Self::Raw) -> Self;
}

/// An entry that has a number, too.
pub trait Numbered: Entry {
    const BY_ID: unsafe extern "C" fn(u32) -> *mut Self::Raw;
}

/// An entry of passwd(5).
#[derive(Debug, Clone)]
pub struct Account {
    pub name: Text,
    pub password: Text,
    pub uid: u32,
    pub gid: u32,
    pub gecos: Text,
    pub home: Text,
    pub shell: Text,
}

impl Account {
    /// Whether the password is said to be in the shadow database.
    pub fn is_shadowed(&self) -> bool {
        self.password.as_bytes() == b"x"
    }
}

impl Entry for Account {
    type Raw = libc::passwd;
    const DATABASE: &'static str = "passwd";
    const REWIND: unsafe extern "C" fn() = libc::setpwent;
    const NEXT: unsafe extern "C" fn() -> *mut libc::passwd = libc::getpwent;
    const END: unsafe extern "C" fn() = libc::endpwent;
    const BY_NAME: unsafe extern "C" fn(*const c_char) -> *mut libc::passwd = libc::getpwnam;

    unsafe fn copy(raw: &libc::passwd) -> Self {
        // SAFETY: as the caller promises.
        let text = |text| unsafe { copy_text(text) };
        Account {
            name: text(raw.pw_name),
            password: text(raw.pw_passwd),
            uid: raw.pw_uid,
            gid: raw.pw_gid,
            gecos: text(raw.pw_gecos),
            home: text(raw.pw_dir),
            shell: text(raw.pw_shell),
        }
    }
}

impl Numbered for Account {
    const BY_ID: unsafe extern "C" fn(u32) -> *mut libc::passwd = libc::getpwuid;
}

/// An entry of group(5).
#[derive(Debug, Clone)]
pub struct Group {
    pub name: Text,
    pub gid: u32,
    pub members: Vec<Text>,
}

impl Entry for Group {
    type Raw = libc::group;
    const DATABASE: &'static str = "group";
    const REWIND: unsafe extern "C" fn() = libc::setgrent;
    const NEXT: unsafe extern "C" fn() -> *mut libc::group = libc::getgrent;
    const END: unsafe extern "C" fn() = libc::endgrent;
    const BY_NAME: unsafe extern "C" fn(*const c_char) -> *mut libc::group = libc::getgrnam;

    unsafe fn copy(raw: &libc::group) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Group { name: copy_text(raw.gr_name), gid: raw.gr_gid, members: copy_list(raw.gr_mem) } }
    }
}

impl Numbered for Group {
    const BY_ID: unsafe extern "C" fn(u32) -> *mut libc::group = libc::getgrgid;
}

/// An entry of shadow(5). The days since 1970 and the numbers of days are `None`
/// where they are not set.
#[derive(Debug, Clone)]
pub struct Shadow {
    pub name: Text,
    pub password: Text,
    pub last_change: Option<c_long>,
    pub min: Option<c_long>,
    pub max: Option<c_long>,
    pub warn: Option<c_long>,
    pub inactive: Option<c_long>,
    pub expires: Option<c_long>,
}

impl Entry for Shadow {
    type Raw = libc::spwd;
    const DATABASE: &'static str = "shadow";
    const REWIND: unsafe extern "C" fn() = libc::setspent;
    const NEXT: unsafe extern "C" fn() -> *mut libc::spwd = libc::getspent;
    const END: unsafe extern "C" fn() = libc::endspent;
    const BY_NAME: unsafe extern "C" fn(*const c_char) -> *mut libc::spwd = libc::getspnam;

    unsafe fn copy(raw: &libc::spwd) -> Self {
        // The C library's word for an empty field.
        let set = |days: c_long| (days != -1).then_some(days);
        Shadow {
            // SAFETY: as the caller promises.
            name: unsafe { copy_text(raw.sp_namp) },
            // SAFETY: as the caller promises.
            password: unsafe { copy_text(raw.sp_pwdp) },
            last_change: set(raw.sp_lstchg),
            min: set(raw.sp_min),
            max: set(raw.sp_max),
            warn: set(raw.sp_warn),
            inactive: set(raw.sp_inact),
            expires: set(raw.sp_expire),
        }
    }
}

/// # Safety
/// Null, or a C string.
unsafe fn copy_text(text: *const c_char) -> Text {
    if text.is_null() {
        return Text::from("");
    }
    // SAFETY: a C string, as the caller promises.
    unsafe { CStr::from_ptr(text) }.into()
}

/// # Safety
/// Null, or pointers to C strings with a null after them.
unsafe fn copy_list(mut list: *const *mut c_char) -> Vec<Text> {
    let mut texts = Vec::new();
    // SAFETY: the loop ends at the null, as the caller promises.
    while let Some(&text) = unsafe { list.as_ref() }.filter(|text| !ptr::eq(**text, ptr::null())) {
        // SAFETY: a C string, and the null is still to come.
        unsafe {
            texts.push(copy_text(text));
            list = list.add(1);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_are_errors() {
        assert_eq!(nothing::<()>("passwd", Errno::from_raw(0)), Ok(None));
        assert_eq!(nothing::<()>("passwd", Errno::ENOENT), Ok(None));
        assert_eq!(nothing::<()>("shadow", Errno::EACCES), Ok(None));
        let refused = nothing::<()>("group", Errno::EMFILE).unwrap_err();
        assert_eq!(refused.retcode.code(), 3101);
        assert!(refused.reason.starts_with("the group database: EMFILE"), "{refused}");
    }

    #[test]
    fn what_is_null_is_empty() {
        // SAFETY: nulls, and a list with a null at its end.
        unsafe {
            assert!(copy_text(ptr::null()).is_empty());
            assert!(copy_list(ptr::null()).is_empty());
            let list = [c"a".as_ptr().cast_mut(), c"\xff".as_ptr().cast_mut(), ptr::null_mut()];
            assert_eq!(copy_list(list.as_ptr()), [Text::from("a"), Text::from(&b"\xff"[..])]);
        }
    }

    #[test]
    fn an_unknown_name_is_none() {
        let mut service = NameService::open();
        for name in ["", "no such user", "4294967294", "99999999999", "+0", "ro\0ot"] {
            assert!(service.named_or_numbered::<Account>(name).unwrap().is_none(), "{name}");
        }
    }
}
