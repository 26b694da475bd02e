//! One mapped part and the search in it. Must not know other parts.
//!
//! A part stays readable for as long as it is mapped, whatever happens to its name. Memory per part is one small
//! record per 16 MiB batch, and 2 bytes per row once so many keys were searched in vain that a filter pays.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_buffer::{Buffer, ScalarBuffer};
use memmap2::Mmap;

use super::error::{Damage, Error};
use super::filter::Filter;
use super::key::{Key, RowMeta};
use super::layout::{self, Batch};
use super::space::{PartOrigin, Space};

/// A part, mapped.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    bytes: u64,
    rows: usize,
    dim: usize,
    origin: PartOrigin,
    batches: Vec<Batch>,
    /// The first key of each batch.
    first_keys: Vec<Key>,
    /// Look-ups until the filter was made.
    searches: AtomicUsize,
    filter: OnceLock<Filter>,
}

/// Rows of a part for which one search is done before its filter is made: making it costs about as much as so many
/// searches would, so that a short run on a large cache does not pay for it.
const ROWS_PER_SEARCH: usize = 16;

/// One row, in the mapped file.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRef<'a> {
    pub key: Key,
    pub embedding: &'a [f32],
    pub meta: RowMeta,
}

/// Where a row lies in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub batch: usize,
    pub row: usize,
}

impl Part {
    /// Maps a part of `space`; `None` when no such file is there (any more).
    pub fn open(path: &Path, space: &Space) -> Result<Option<Self>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open cache part", path)(error)),
        };
        let damaged = |source| Error::PartDamaged { path: path.to_owned(), source };
        let bytes = map(&file).map_err(Error::io("map cache part", path))?;
        let layout = layout::parse(&bytes, &space.fingerprint, space.dim).map_err(damaged)?;
        let first_keys = layout.batches.iter().map(|batch| Key(batch.keys()[0])).collect();
        Ok(Some(Self {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            rows: layout.batches.iter().map(|batch| batch.keys().len()).sum(),
            dim: space.dim,
            origin: layout.origin,
            batches: layout.batches,
            first_keys,
            searches: AtomicUsize::new(0),
            filter: OnceLock::new(),
        }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn origin(&self) -> &PartOrigin {
        &self.origin
    }

    /// Where `key` lies, if it is in this part.
    pub fn find(&self, key: &Key) -> Option<Place> {
        let batch = self.first_keys.partition_point(|first| first <= key).checked_sub(1)?;
        search(self.batches[batch].keys(), &key.0).map(|row| Place { batch, row })
    }

    /// As [`Part::find`], but most keys that are not here are denied without a search, once there were many. A part
    /// that is `alone` is searched at once: there, a filter would only tell what the search tells.
    pub fn look_up(&self, key: &Key, alone: bool) -> Option<Place> {
        if !alone {
            let filter = self.filter.get().or_else(|| {
                let searches = self.searches.fetch_add(1, Ordering::Relaxed);
                (searches >= self.rows / ROWS_PER_SEARCH).then(|| self.filter.get_or_init(|| self.make_filter()))
            });
            if filter.is_some_and(|filter| !filter.may_hold(key)) {
                return None;
            }
        }
        self.find(key)
    }

    fn make_filter(&self) -> Filter {
        Filter::of(self.rows, self.batches.iter().flat_map(Batch::keys))
    }

    /// The row at a place that [`Part::find`] or [`Part::next`] gave.
    pub fn row(&self, place: Place) -> RowRef<'_> {
        let (batch, row) = (&self.batches[place.batch], place.row);
        RowRef {
            key: Key(batch.keys()[row]),
            embedding: &batch.embeddings[row * self.dim..(row + 1) * self.dim],
            meta: RowMeta {
                n_tokens: batch.n_tokens[row],
                n_dropped: batch.n_dropped[row],
                title_cut: batch.title_cut.value(row),
            },
        }
    }

    /// The embeddings of each batch, row after row; what is cloned keeps the part mapped.
    pub fn embeddings(&self) -> impl Iterator<Item = &ScalarBuffer<f32>> {
        self.batches.iter().map(|batch| &batch.embeddings)
    }

    /// The first row of the part.
    pub fn first(&self) -> Option<Place> {
        (!self.batches.is_empty()).then_some(Place { batch: 0, row: 0 })
    }

    /// The row after `place`.
    pub fn next(&self, place: Place) -> Option<Place> {
        if place.row + 1 < self.batches[place.batch].keys().len() {
            return Some(Place { row: place.row + 1, ..place });
        }
        let batch = place.batch + 1;
        (batch < self.batches.len()).then_some(Place { batch, row: 0 })
    }

    /// The key at a place, without touching the rest of the row.
    pub fn key(&self, place: Place) -> Key {
        Key(self.batches[place.batch].keys()[place.row])
    }

    /// Checks that keys ascend strictly through the whole part.
    pub fn check_order(&self) -> Result<(), Damage> {
        let mut last: Option<&[u8; Key::BYTES]> = None;
        for (row, key) in self.batches.iter().flat_map(Batch::keys).enumerate() {
            if last.is_some_and(|last| last >= key) {
                return Err(Damage::KeyOrder { row });
            }
            last = Some(key);
        }
        Ok(())
    }

    /// Checks content and order.
    pub fn check(&self) -> Result<(), Damage> {
        Self::check_content(&self.path, &mut |_| {})?;
        self.check_order()
    }

    /// Reads the file of a part and compares its hash with its name; `watch` hears now and then how many bytes were
    /// read. Reads rather than looks into the map, so that a failing disk gives an error and not a signal.
    pub fn check_content(path: &Path, watch: &mut dyn FnMut(u64)) -> Result<(), Damage> {
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(path).map_err(Damage::Unreadable)?;
        let mut bytes = 0;
        loop {
            let read = io::copy(&mut (&mut file).take(WATCH_BYTES), &mut hasher).map_err(Damage::Unreadable)?;
            bytes += read;
            watch(bytes);
            if read < WATCH_BYTES {
                break;
            }
        }
        let got = hasher.finalize().to_hex();
        match path.file_stem() {
            Some(stem) if stem == got.as_str() => Ok(()),
            _ => Err(Damage::Content { got: got.to_string() }),
        }
    }
}

/// Bytes that are hashed between two looks of a watcher.
const WATCH_BYTES: u64 = 16 << 20;

/// Finds `key` in ascending keys. They are hashes and so spread evenly: guessing the place from the value needs three
/// or four looks (three or four pages) in a batch; every other look halves the range, whatever the keys are.
fn search(keys: &[[u8; Key::BYTES]], key: &[u8; Key::BYTES]) -> Option<usize> {
    let (mut low, mut high) = (0, keys.len());
    let mut guess = true;
    while low < high {
        let middle = if guess { interpolate(&keys[low..high], key) + low } else { low + (high - low) / 2 };
        guess = !guess;
        match keys[middle].cmp(key) {
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

/// A place in `keys` (not empty) near which `key` would lie if they were spread evenly.
fn interpolate(keys: &[[u8; Key::BYTES]], key: &[u8; Key::BYTES]) -> usize {
    let last = keys.len() - 1;
    let head = |key: &[u8; Key::BYTES]| u64::from_be_bytes(*key.first_chunk().expect("a key has 16 bytes"));
    let (low, high, key) = (head(&keys[0]), head(&keys[last]), head(key));
    if key <= low {
        return 0;
    }
    if key >= high {
        return last;
    }
    let place = u128::from(key - low) * last as u128 / u128::from(high - low);
    usize::try_from(place).map_or(last, |place| place.min(last))
}

#[expect(unsafe_code, reason = "a mapped file; see the comments")]
fn map(file: &File) -> io::Result<Buffer> {
    if file.metadata()?.len() == 0 {
        return Ok(Buffer::from(&[]));
    }
    // SAFETY: parts are written once, under another name, and never changed or cut: the bytes stay as they are while
    // mapped. Whoever breaks that rule by hand can at worst change floats or kill the process by SIGBUS.
    let map = unsafe { Mmap::map(file)? };
    let map = Arc::new(map);
    let start = NonNull::from(&map[0]);
    let length = map.len();
    // SAFETY: `start` and `length` are those of the map, which the buffer keeps alive.
    Ok(unsafe { Buffer::from_custom_allocation(start, length, map) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(mut heads: Vec<u64>) -> Vec<[u8; 16]> {
        heads.sort_unstable();
        heads.dedup();
        let widen = |head: u64| {
            let mut key = [7; 16];
            key[..8].copy_from_slice(&head.to_be_bytes());
            key
        };
        heads.into_iter().map(widen).collect()
    }

    proptest! {
        #[test]
        fn search_finds_what_is_there_and_nothing_else(
            heads in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..40, u64::MAX - 40..=u64::MAX], 0..200),
            absent in any::<u64>(),
        ) {
            let keys = keys(heads);
            for (row, key) in keys.iter().enumerate() {
                prop_assert_eq!(search(&keys, key), Some(row));
                let mut other = *key;
                other[15] = 8;
                prop_assert_eq!(search(&keys, &other), None);
            }
            let mut other = [9; 16];
            other[..8].copy_from_slice(&absent.to_be_bytes());
            prop_assert_eq!(search(&keys, &other), None);
        }
    }
}
