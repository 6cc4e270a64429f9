package io.alluvium;

/** What went wrong, exactly. The numbers are the native library's, and never change. */
public enum Status {
    /** Something that has to be there is null. */
    NULL(-1),
    /** An argument is out of its range, or contradicts another. */
    ARGUMENT(-2),
    /** The object is closed. */
    HANDLE(-3),
    /** The object belongs to another thread. */
    WRONG_THREAD(-4),
    /** A callback called the engine. */
    INSIDE_CALLBACK(-5),
    /** Another call is using the object. */
    IN_USE(-6),
    /** Something that was made from the object is still open. */
    HAS_CHILDREN(-7),
    /** The native library is of another version. */
    ABI(-8),
    /** A bug of the engine, in this call or in an earlier one on the same object, which can only be closed now. */
    PANIC(-9),
    /** A key, user key or value is longer than its limit. */
    TOO_LONG(-20),
    /** The memory budget has no room, not even with everything else spilled. */
    BUDGET(-21),
    /** Too much is under way; the same call succeeds later. */
    BUSY(-22),
    /** More is staged than the store's options allow. */
    STAGED(-23),
    /** A key group that the writer, reader or store doesn't hold. */
    OUTSIDE_RANGE(-24),
    /** Another writer holds part of the range. */
    RANGE_CLAIMED(-25),
    /** The options contradict each other or a limit. */
    OPTIONS(-26),
    /** A state that isn't there or is of another kind, or whose operator takes no such value. */
    STATE(-27),
    /** A value of an older schema can't be converted. */
    CONVERSION(-28),
    /** There is no checkpoint in the directory. */
    NO_CHECKPOINT(-29),
    /** A checkpoint that the store doesn't have, or that is at another stage. */
    CHECKPOINT(-30),
    /** The store was closed. */
    CLOSED(-31),
    /** Background work failed for good; the store must be reopened. */
    BACKGROUND(-32),
    /** A position of the changelog that the history doesn't have, or that can't be told of. */
    POSITION(-33),
    /** A handler of events isn't there, is of another version than the changelog wants, or failed. */
    EVENT_HANDLER(-34),
    /** An event that can't be looked for or taken back, and the message says why. */
    EVENT(-35),
    /** The disk is full, or the process has too many files open. */
    FULL(-40),
    /** The directory is open elsewhere. */
    LOCKED(-41),
    /** A segment is elsewhere, and wasn't brought. */
    ABSENT(-42),
    /** A file or directory is in the way. */
    EXISTS(-43),
    /** The disk failed. */
    IO(-44),
    /** A file is damaged, missing or foreign. */
    CORRUPT(-45),
    /** Anything that this version has no number for. */
    OTHER(-99);

    private final int code;

    Status(int code) {
        this.code = code;
    }

    /** The number. */
    public int code() {
        return code;
    }

    /** The status of a number; {@link #OTHER} where it is none. */
    static Status of(int code) {
        for (Status status : values()) {
            if (status.code == code) {
                return status;
            }
        }
        return OTHER;
    }
}
