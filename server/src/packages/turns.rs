//! How many may have something large done at once: files are read for their
//! sums by few, and fetched by the agents' port by so many, no host having more
//! than its part.

use super::{PackageError, Stored, Sum};
use crate::limits::{MAX_CHECKSUMS, MAX_CHECKSUMS_AWAITED, MAX_DOWNLOADS, MAX_DOWNLOADS_PER_HOST};
use crate::unbroken::aside;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Computes sums, a few at once.
#[derive(Debug)]
pub struct Sums {
    at_once: Arc<Semaphore>,
    /// Who waits for one, those whose sum is being computed included.
    awaited: Semaphore,
}

/// Who fetches by the agents' port.
#[derive(Debug)]
pub struct Downloads {
    rooms: Arc<Semaphore>,
    hosts: Arc<Mutex<HashMap<Uuid, usize>>>,
}

/// One download, until it is dropped.
#[derive(Debug)]
pub struct Room {
    host: Uuid,
    hosts: Arc<Mutex<HashMap<Uuid, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums {
            at_once: Arc::new(Semaphore::new(MAX_CHECKSUMS)),
            awaited: Semaphore::new(MAX_CHECKSUMS_AWAITED),
        }
    }
}

impl Sums {
    /// The file with its sum, for which all of it is read where it is not known.
    pub async fn of(&self, file: Stored) -> Result<(Stored, Sum), PackageError> {
        if let Some(sum) = file.known_sum() {
            return Ok((file, sum));
        }
        self.apart(move || file.sum().map(|sum| (file, sum))).await?
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PackageError> {
        let busy = |_| PackageError::Busy("so many checksums are computed that no more can".into());
        let _awaited = self.awaited.try_acquire().map_err(busy)?;
        let turn = self.at_once.clone().acquire_owned().await.expect("nobody closes the semaphore");
        // The turn goes with the work, which goes on when whoever waits for it has left.
        let done = aside(move || {
            let _turn = turn;
            work()
        });
        Ok(done.await)
    }
}

impl Default for Downloads {
    fn default() -> Downloads {
        Downloads { rooms: Arc::new(Semaphore::new(MAX_DOWNLOADS)), hosts: Arc::default() }
    }
}

impl Downloads {
    /// Room for one more of this host.
    pub fn enter(&self, host: Uuid) -> Result<Room, PackageError> {
        let full = |_| PackageError::Busy("so many hosts fetch packages that no more can".into());
        let room = self.rooms.clone().try_acquire_owned().map_err(full)?;
        let mut hosts = self.hosts.lock().expect("nothing panics while it counts");
        let count = hosts.entry(host).or_default();
        if *count == MAX_DOWNLOADS_PER_HOST {
            return Err(PackageError::Busy(format!(
                "this host fetches {MAX_DOWNLOADS_PER_HOST} files already"
            )));
        }
        *count += 1;
        Ok(Room { host, hosts: self.hosts.clone(), _permit: room })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().expect("nothing panics while it counts");
        if let Some(count) = hosts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn who_hangs_up_frees_no_turn_whose_file_is_still_read() {
        let sums = Arc::new(Sums::default());
        let mut ends = Vec::new();
        for _ in 0..MAX_CHECKSUMS {
            let (begun, begins) = tokio::sync::oneshot::channel();
            let (end, ended) = mpsc::channel::<()>();
            let work = move || {
                begun.send(()).unwrap();
                ended.recv()
            };
            let own = sums.clone();
            let caller = tokio::spawn(async move { own.apart(work).await });
            begins.await.unwrap();
            caller.abort();
            assert!(caller.await.unwrap_err().is_cancelled());
            ends.push(end);
        }
        assert_eq!(sums.at_once.available_permits(), 0);
        assert_eq!(sums.awaited.available_permits(), MAX_CHECKSUMS_AWAITED, "nobody waits any more");
        let waiting: Vec<_> = (0..MAX_CHECKSUMS_AWAITED).map(|_| sums.awaited.try_acquire()).collect();
        assert!(matches!(sums.apart(|| ()).await, Err(PackageError::Busy(_))));
        drop((waiting, ends));
        sums.apart(|| ()).await.unwrap();
    }

    #[test]
    fn no_host_has_more_than_its_part_of_the_downloads() {
        let downloads = Downloads::default();
        let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let mut rooms: Vec<_> = (0..MAX_DOWNLOADS_PER_HOST).map(|_| downloads.enter(one).unwrap()).collect();
        assert!(matches!(downloads.enter(one), Err(PackageError::Busy(_))));
        let others = downloads.enter(other).unwrap();
        rooms.pop();
        rooms.push(downloads.enter(one).unwrap());
        drop((rooms, others));
        assert!(downloads.hosts.lock().unwrap().is_empty());
        assert_eq!(downloads.rooms.available_permits(), MAX_DOWNLOADS);
        let all: Vec<_> =
            (0..MAX_DOWNLOADS).map(|n| downloads.enter(Uuid::from_u128(n as u128)).unwrap()).collect();
        assert!(matches!(downloads.enter(Uuid::max()), Err(PackageError::Busy(_))));
        drop(all);
    }
}
