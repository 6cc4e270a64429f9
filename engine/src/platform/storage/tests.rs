//! The same stories over both back ends, with and without `O_DIRECT`.

mod hostile;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{TempDir, tempdir};

use super::append::Appender;
use super::files::{Directory, Opened, open_lock_file};
use super::*;

/// Runs a story over each back end that the machine has, each in a new directory.
fn each(story: impl Fn(&dyn Storage)) {
    for choice in [StorageChoice::Posix, StorageChoice::Uring, StorageChoice::Auto] {
        for cache in [PageCache::Everything, PageCache::SingleReads, PageCache::Nothing] {
            let root = tempdir().unwrap();
            match open(root.path(), choice, cache, false) {
                Ok(storage) => story(&*storage),
                Err(error) => eprintln!("{choice:?} is left out: {error}"),
            }
        }
    }
}

/// Bytes that differ from page to page, and from file to file.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn write(storage: &dyn Storage, name: &str, content: &[u8]) {
    let mut file = storage.create(name).unwrap();
    // In pieces of odd lengths, so that they straddle chunks.
    for piece in content.chunks(99_991) {
        file.append(piece).unwrap();
    }
    assert_eq!(file.len(), content.len() as u64);
    file.finish(true).unwrap();
}

fn fault<T>(outcome: Result<T, StorageError>) -> Fault {
    outcome.err().unwrap().fault
}

const MIB: usize = 1 << 20;

#[test]
fn what_was_written_is_read_back_at_any_place() {
    each(|storage| {
        for len in [0, 1, 511, 4095, 4096, 4097, 12_288, 65_537, MIB - 1, MIB, MIB + 1, 2 * MIB + 4096, 3 * MIB + 777] {
            let content = bytes(len as u64, len);
            let name = format!("{len}.file");
            write(storage, &name, &content);
            assert_eq!(storage.read_all(&name, len as u64).unwrap(), content);
            let file = storage.open(&name).unwrap();
            assert_eq!((file.len(), file.is_empty()), (len as u64, len == 0));
            let places = [(0, len), (0, 1), (1, 4096), (4095, 2), (4096, 4096), (len / 2, len / 3), (len, 0)];
            let last = (len.saturating_sub(5000), len.min(5000));
            for (offset, count) in places.into_iter().chain([last]) {
                if offset + count > len {
                    continue;
                }
                let want = &content[offset..offset + count];
                assert_eq!(&*file.read_at(offset as u64, count).unwrap(), want, "{len}: {count} from {offset}");
                storage.cache_all_reads(true);
                assert_eq!(&*file.read_at(offset as u64, count).unwrap(), want, "{len}: {count} from {offset}, cached");
                storage.cache_all_reads(false);
                let single = file.read_single(offset as u64, count).unwrap();
                assert_eq!(&*single, want, "{len}: {count} from {offset}, alone");
                assert_eq!(&*file.map(offset as u64, count).unwrap(), want, "{len}: {count} from {offset}, mapped");
            }
        }
    });
}

#[test]
fn a_batch_brings_every_read_its_own_bytes() {
    each(|storage| {
        let contents: Vec<Vec<u8>> = (0..3).map(|seed| bytes(seed, 2 * MIB + 1234)).collect();
        let mut files = Vec::new();
        for (seed, content) in contents.iter().enumerate() {
            let name = names::segment_name(seed as u128);
            write(storage, &name, content);
            files.push(storage.open(&name).unwrap());
        }
        for count in [0, 1, 2, 3, 31, 128, 129, 700] {
            let place = |index: usize| (index % 3, index * 7919 % MIB, index * 263 % 20_000);
            let mut batch: Vec<ReadRequest> = (0..count)
                .map(|index| {
                    let (file, offset, len) = place(index);
                    // Through the page cache, where single reads go through it, and past it.
                    let cached = index % 2 == 1;
                    ReadRequest { cached, ..ReadRequest::new(Arc::clone(&files[file]), offset as u64, len) }
                })
                .collect();
            // All of them do for now, or not.
            storage.cache_all_reads(count % 2 == 1);
            storage.read_batch(&mut batch);
            for (index, request) in batch.into_iter().enumerate() {
                let (file, offset, len) = place(index);
                assert_eq!(&*request.outcome.unwrap().unwrap(), &contents[file][offset..offset + len], "{index}");
            }
        }
        let counts = storage.counters().snapshot();
        assert!(counts.reads >= 994 && counts.written_bytes == 3 * (2 * MIB as u64 + 1234), "{counts:?}");
        // A file system that refuses `O_DIRECT` is asked once.
        assert!(counts.uring_fallbacks == 0 && counts.direct_fallbacks <= 1, "{counts:?}");
    });
}

/// A stream that makes reads up as others land: each of the first ones leads to `depth` more, one after the other.
struct Chains<'a> {
    file: Arc<dyn ReadFile>,
    content: &'a [u8],
    chains: usize,
    depth: usize,
    started: usize,
    /// Tags of the reads to be made next: a chain's number and how far it got.
    ready: Vec<usize>,
    /// How often each read landed.
    seen: Vec<usize>,
}

impl Chains<'_> {
    /// Every tenth lies beyond the file's end.
    fn offset(tag: usize) -> usize {
        if tag % 10 == 9 { 899_000 } else { tag * 500 }
    }
}

impl ReadStream for Chains<'_> {
    fn next(&mut self) -> Option<ReadRequest> {
        let tag = self.ready.pop().or_else(|| {
            self.started += 1;
            (self.started <= self.chains).then(|| (self.started - 1) * self.depth)
        })?;
        Some(ReadRequest { tag, ..ReadRequest::new(Arc::clone(&self.file), Self::offset(tag) as u64, 1_500) })
    }

    fn landed(&mut self, request: ReadRequest) {
        let (tag, offset) = (request.tag, Self::offset(request.tag));
        self.seen[tag] += 1;
        match request.outcome.unwrap() {
            Ok(read) => assert_eq!(&*read, &self.content[offset..offset + 1_500]),
            Err(error) => assert_eq!((error.fault, tag % 10), (Fault::Length, 9)),
        }
        if (tag + 1) % self.depth != 0 {
            self.ready.push(tag + 1);
        }
    }
}

#[test]
fn each_read_of_a_stream_lands_once() {
    each(|storage| {
        let content = bytes(6, 900_000);
        write(storage, "a", &content);
        for (chains, depth) in [(0, 1), (1, 1), (1, 40), (2, 3), (127, 1), (128, 2), (129, 1), (400, 4), (17, 90)] {
            let file = storage.open("a").unwrap();
            let seen = vec![0; chains * depth];
            let mut stream = Chains { file, content: &content, chains, depth, started: 0, ready: Vec::new(), seen };
            storage.read_stream(&mut stream);
            assert!(stream.seen.iter().all(|&times| times == 1), "{chains} x {depth}: {:?}", stream.seen);
        }
    });
}

#[test]
fn a_bad_read_of_a_batch_leaves_the_others_alone() {
    each(|storage| {
        let content = bytes(5, 10_000);
        write(storage, "a", &content);
        let file = storage.open("a").unwrap();
        let places = [(0, 100), (9_999, 2), (u64::MAX, 1), (9_999, 1), (0, usize::MAX), (10_001, 0), (4096, 5904)];
        let mut batch: Vec<_> =
            places.iter().map(|(offset, len)| ReadRequest::new(Arc::clone(&file), *offset, *len)).collect();
        storage.read_batch(&mut batch);
        for (request, (offset, len)) in batch.into_iter().zip(places) {
            let outcome = request.outcome.unwrap();
            if offset.checked_add(len as u64).is_some_and(|end| end <= 10_000) {
                assert_eq!(&*outcome.unwrap(), &content[offset as usize..][..len]);
            } else {
                let error = outcome.unwrap_err();
                assert_eq!((error.fault, error.offset), (Fault::Length, offset));
                assert_eq!(error.path, storage.root().join("a"));
            }
            assert_eq!(fault(file.read_at(9_000, 1_001)), Fault::Length);
            assert_eq!(fault(file.map(9_000, 1_001)), Fault::Length);
        }
    });
}

#[test]
fn threads_read_at_once() {
    each(|storage| {
        let content = bytes(6, MIB);
        write(storage, "a", &content);
        let file = storage.open("a").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..6usize {
                let (file, content) = (&file, &content);
                scope.spawn(move || {
                    for round in 0..20usize {
                        let place = |index: usize| (thread * 104_729 + round * 7919 + index * 4093) % (MIB - 5000);
                        let mut batch: Vec<_> = (0..40)
                            .map(|index| ReadRequest::new(Arc::clone(file), place(index) as u64, 4096 + index))
                            .collect();
                        storage.read_batch(&mut batch);
                        for (index, request) in batch.into_iter().enumerate() {
                            let want = &content[place(index)..][..4096 + index];
                            assert_eq!(&*request.outcome.unwrap().unwrap(), want);
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn a_file_cut_from_outside_is_too_short() {
    each(|storage| {
        write(storage, "a", &bytes(7, 20_000));
        let file = storage.open("a").unwrap();
        std::fs::OpenOptions::new().write(true).open(storage.root().join("a")).unwrap().set_len(10_001).unwrap();
        assert_eq!(&*file.read_at(8_000, 2_001).unwrap(), &bytes(7, 20_000)[8_000..10_001]);
        assert_eq!(fault(file.read_at(8_000, 2_002)), Fault::Length);
        assert_eq!(fault(file.map(8_000, 2_002)), Fault::Length);
        let mut batch: Vec<_> = [8_000, 12_000].map(|from| ReadRequest::new(Arc::clone(&file), from, 5_000)).into();
        storage.read_batch(&mut batch);
        for request in batch {
            assert_eq!(fault(request.outcome.unwrap()), Fault::Length);
        }
    });
}

#[test]
fn names_are_listed_renamed_and_removed() {
    each(|storage| {
        write(storage, "a", b"one");
        write(storage, "b", b"three");
        assert_eq!(fault(storage.create("a")), Fault::Exists);
        assert_eq!(fault(storage.open("c")), Fault::Missing);
        assert_eq!(fault(storage.read_all("c", 9)), Fault::Missing);
        assert_eq!(fault(storage.read_all("b", 4)), Fault::Length);
        assert_eq!(fault(storage.rename("c", "d")), Fault::Missing);
        std::fs::create_dir(storage.root().join("directory")).unwrap();
        assert_eq!(fault(storage.open("directory")), Fault::Foreign);
        storage.rename("a", "b").unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(storage.list().unwrap(), [FileEntry { name: "b".into(), len: 3 }]);
        assert_eq!(storage.read_all("b", 3).unwrap(), b"one");
        storage.remove("b").unwrap();
        storage.remove("b").unwrap();
        assert!(storage.list().unwrap().is_empty());
        assert!(storage.free_bytes().unwrap() > 0);
        assert!(storage.root().is_absolute());
    });
}

#[test]
fn a_name_never_leads_out_of_the_directory() {
    each(|storage| {
        let elsewhere = tempdir().unwrap();
        for name in ["../a", "a/b", "/etc/passwd", "..", ".", ""] {
            assert_eq!(fault(storage.create(name)), Fault::Name, "{name}");
            assert_eq!(fault(storage.open(name)), Fault::Name);
            assert_eq!(fault(storage.read_all(name, 1)), Fault::Name);
            assert_eq!(fault(storage.rename(name, "a")), Fault::Name);
            assert_eq!(fault(storage.rename("a", name)), Fault::Name);
            assert_eq!(fault(storage.remove(name)), Fault::Name);
            assert_eq!(fault(storage.link_to(name, elsewhere.path())), Fault::Name);
            assert_eq!(fault(storage.link_from(name, elsewhere.path(), true)), Fault::Name);
        }
        std::os::unix::fs::symlink("/etc/passwd", storage.root().join("link")).unwrap();
        assert_eq!(fault(storage.open("link")), Fault::Io);
        assert!(storage.list().unwrap().is_empty());
    });
}

#[test]
fn links_go_both_ways_and_fall_back_to_copies() {
    each(|storage| {
        let content = bytes(8, 70_001);
        write(storage, "a", &content);
        write(storage, "other", &bytes(9, 7));
        // The second is on another file system, where there is one: a link can't cross.
        for elsewhere in [tempdir().ok(), TempDir::new_in("/dev/shm").ok()].into_iter().flatten() {
            storage.link_to("a", elsewhere.path()).unwrap();
            assert_eq!(std::fs::read(elsewhere.path().join("a")).unwrap(), content);
            storage.link_to("a", elsewhere.path()).unwrap();
            storage.sync_other(elsewhere.path()).unwrap();
            let foreign = elsewhere.path().join("other");
            for content in [&b"foreign"[..], b"longer than the file"] {
                std::fs::write(&foreign, content).unwrap();
                assert_eq!(fault(storage.link_to("other", elsewhere.path())), Fault::Exists);
            }
            std::fs::remove_file(&foreign).unwrap();
            assert_eq!(fault(storage.link_from("a", elsewhere.path(), true)), Fault::Exists);
            assert_eq!(fault(storage.link_from("b", elsewhere.path(), false)), Fault::Missing);
            assert_eq!(fault(storage.link_to("b", elsewhere.path())), Fault::Missing);
            storage.remove("a").unwrap();
            storage.link_from("a", elsewhere.path(), true).unwrap();
            assert_eq!(storage.read_all("a", 70_001).unwrap(), content);
            assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);
        }
        assert_eq!(storage.list().unwrap().len(), 2);
    });
}

#[test]
fn an_unfinished_file_is_removed() {
    each(|storage| {
        let mut file = storage.create("a").unwrap();
        file.append(&bytes(9, 3 * MIB)).unwrap();
        drop(file);
        assert!(storage.list().unwrap().is_empty());
        write(storage, "a", b"again");
    });
}

/// Who finds a directory there takes it for durable.
#[test]
fn directories_that_were_made_in_part_go_again() {
    let root = tempdir().unwrap();
    let deep = root.path().join("a/b").join("x".repeat(300)).join("c");
    assert!(open(&deep, StorageChoice::Posix, PageCache::Nothing, true).is_err());
    assert!(!root.path().join("a").exists());
    let deep = root.path().join("a/b/c");
    assert!(open(&deep, StorageChoice::Posix, PageCache::Nothing, true).unwrap().list().unwrap().is_empty());
}

#[test]
fn a_directory_is_made_only_on_request() {
    let root = tempdir().unwrap();
    let deep = root.path().join("a/b/c");
    assert_eq!(fault(open(&deep, StorageChoice::Auto, PageCache::Nothing, false)), Fault::Missing);
    write(&*open(&deep, StorageChoice::Auto, PageCache::Nothing, true).unwrap(), "x", b"x");
    assert_eq!(open(&deep, StorageChoice::Auto, PageCache::Nothing, true).unwrap().list().unwrap().len(), 1);
    assert_eq!(fault(open(&deep.join("x"), StorageChoice::Posix, PageCache::Nothing, false)), Fault::Io);
}

#[test]
fn a_directory_is_held_once() {
    let root = tempdir().unwrap();
    let held = lock(root.path()).unwrap();
    assert_eq!(fault(lock(root.path())), Fault::Locked);
    // The same directory by another path.
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path(), &link).unwrap();
    assert_eq!(fault(lock(&link)), Fault::Locked);
    drop(held);
    drop(lock(&link).unwrap());

    // What another process does: an open of its own, past the registry.
    let other = open_lock_file(&root.path().join(names::LOCK)).unwrap();
    sys::lock_exclusive(other.as_fd()).unwrap();
    assert_eq!(fault(lock(root.path())), Fault::Locked);
    drop(other);
    drop(lock(root.path()).unwrap());
    assert_eq!(fault(lock(&root.path().join("none"))), Fault::Missing);
}

#[test]
fn a_lock_ends_with_its_process() {
    let root = tempdir().unwrap();
    let path = root.path().join(names::LOCK);
    drop(lock(root.path()).unwrap());
    // `flock -n` of util-linux holds the lock for as long as the `sleep` lives.
    let Ok(mut holder) = Command::new("flock").arg("-n").arg("--no-fork").arg(&path).args(["sleep", "60"]).spawn()
    else {
        eprintln!("left out: no flock program");
        return;
    };
    let held = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        matches!(lock(root.path()), Err(error) if error.fault == Fault::Locked)
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(held);
    drop(lock(root.path()).unwrap());
}

#[test]
fn a_failed_write_poisons_the_storage() {
    let root = tempdir().unwrap();
    let directory = Arc::new(Directory::open(root.path(), PageCache::Everything, false).unwrap());
    let storage = posix::Posix::new(Arc::clone(&directory));
    write(&storage, "a", b"before");
    let mut open_before = storage.create("b").unwrap();
    // A file that can't be written to, as it is open for reading only.
    let path = root.path().join("a");
    let file = std::fs::File::open(&path).unwrap().into();
    let mut failing = Appender::over(directory, path, Opened { file, direct: false, len: 0 }).unwrap();
    failing.append(b"x").unwrap();
    let error = failing.append(&bytes(1, 2 * MIB)).unwrap_err();
    assert_eq!((error.fault, error.offset), (Fault::Io, 0));
    assert_eq!(fault(failing.append(b"x")), Fault::Io);
    drop(failing);

    assert_eq!(fault(storage.create("c")), Fault::Poisoned);
    assert_eq!(fault(open_before.append(b"x")), Fault::Poisoned);
    assert_eq!(fault(open_before.finish(true)), Fault::Poisoned);
    assert_eq!(fault(storage.rename("a", "c")), Fault::Poisoned);
    assert_eq!(fault(storage.remove("a")), Fault::Poisoned);
    assert_eq!(fault(storage.sync_dir()), Fault::Poisoned);
    assert_eq!(fault(storage.link_from("c", Path::new("/"), true)), Fault::Poisoned);
    // Reads go on, and nothing was taken away.
    assert_eq!(storage.read_all("a", 9).unwrap(), b"before");
    assert_eq!(&*storage.open("a").unwrap().read_at(2, 3).unwrap(), b"for");
    // Another instance starts anew.
    write(&*open(root.path(), StorageChoice::Auto, PageCache::Nothing, false).unwrap(), "c", b"after");
}

/// Set for the child processes of [`a_full_disk_costs_only_the_file`]: the directory to fill.
const FULL_ROOT: &str = "ALLUVIUM_TEST_FULL_ROOT";

#[test]
fn a_full_disk_costs_only_the_file() {
    if let Some(root) = std::env::var_os(FULL_ROOT) {
        return fill(&PathBuf::from(root));
    }
    // A file size limit: a write past it is cut short, and the next fails with EFBIG. The shell counts it in 512 or
    // 1,024 bytes, so it is 1 or 2 MiB.
    assert!(run_full("sh", &["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]));
    // A disk that is full indeed, where the machine lets us mount one: there, room counts only once it is free.
    let mounted = format!("mount -t tmpfs -o size=2m alluvium \"${FULL_ROOT}\" || exit 77; exec \"$0\" \"$@\"");
    if !run_full("unshare", &["-m", "sh", "-c", &mounted]) {
        eprintln!("left out: no right to mount");
    }
}

/// Runs the test in a child process through a shell; false where the shell couldn't prepare the full disk.
fn run_full(program: &str, script: &[&str]) -> bool {
    let root = tempdir().unwrap();
    let name = format!("{}::a_full_disk_costs_only_the_file", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(program);
    child.args(script).arg(std::env::current_exe().unwrap()).args(["--exact", &name, "--nocapture"]);
    let Ok(output) = child.env(FULL_ROOT, root.path()).output() else { return false };
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() && !said.contains("running 1 test") {
        return false;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn fill(root: &Path) {
    for (choice, cache) in [
        (StorageChoice::Posix, PageCache::Everything),
        (StorageChoice::Posix, PageCache::Nothing),
        (StorageChoice::Auto, PageCache::Everything),
        (StorageChoice::Auto, PageCache::Nothing),
    ] {
        let storage = open(root, choice, cache, false).unwrap();
        let content = bytes(3, 4 * MIB);
        let mut file = storage.create("a").unwrap();
        let error = content.chunks(10_000).find_map(|piece| file.append(piece).err()).unwrap();
        assert_eq!(error.fault, Fault::Full, "{error}");
        assert!(storage.list().unwrap().is_empty(), "the incomplete file is gone");
        assert_eq!(fault(file.append(b"x")), Fault::Full);
        // With room again, the same name is written; the failed file's end doesn't take it away.
        write(&*storage, "a", &content[..MIB / 2 + 7]);
        assert_eq!(fault(file.finish(true)), Fault::Full);
        assert_eq!(storage.read_all("a", MIB as u64).unwrap(), &content[..MIB / 2 + 7]);
        storage.sync_dir().unwrap();
        storage.remove("a").unwrap();
    }
}

#[test]
fn the_page_cache_answers_where_direct_reads_are_refused() {
    each(|storage| {
        let content = bytes(4, 9_999);
        write(storage, "a", &content);
        let direct = storage.open("a").unwrap();
        // What a device with larger sectors does: EINVAL for a read that isn't aligned for it.
        let odd = Misaligned(direct);
        let mut batch: Vec<_> = (0..9).map(|at| ReadRequest::new(Arc::new(odd.clone()), at * 1000 + 1, 998)).collect();
        storage.read_batch(&mut batch);
        for (at, request) in batch.into_iter().enumerate() {
            assert_eq!(&*request.outcome.unwrap().unwrap(), &content[at * 1000 + 1..][..998]);
        }
    });
}

/// A file that says it isn't opened with `O_DIRECT`, so that its ring reads are not aligned.
#[derive(Clone, Debug)]
struct Misaligned(Arc<dyn ReadFile>);

impl ReadFile for Misaligned {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        self.0.read_at(offset, len)
    }

    fn map(&self, offset: u64, len: usize) -> Result<Mapping, StorageError> {
        self.0.map(offset, len)
    }

    fn descriptor(&self) -> Option<(Arc<std::os::fd::OwnedFd>, bool)> {
        self.0.descriptor().map(|(file, _)| (file, false))
    }
}
