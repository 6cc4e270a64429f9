//! What is asked of the operating system about files.

/// A kind of call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// Opening a file, or a directory, that is there.
    Open,
    /// Making a file.
    Create,
    /// Making a directory.
    MakeDirectory,
    /// Locking a file.
    Lock,
    /// Asking for a length, or what something is.
    Stat,
    /// Going through a directory.
    List,
    /// Asking how much room there is.
    Space,
    /// Reading.
    Read,
    /// Mapping a part of a file into memory.
    Map,
    /// Writing.
    Write,
    /// Taking room for a file.
    Allocate,
    /// Cutting a file to nothing.
    Cut,
    /// Making a file, or a directory's names, durable.
    Sync,
    /// Renaming a file.
    Rename,
    /// Removing a file, or a directory with all that is in it.
    Remove,
    /// Linking a file into another directory.
    Link,
}
