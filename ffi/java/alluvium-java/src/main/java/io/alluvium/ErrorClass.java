package io.alluvium;

/** What a program can do about an {@link AlluviumException}. */
public enum ErrorClass {
    /** Nothing is lost; the same call can succeed later (with {@link Status#STAGED}: after a commit or an abort). */
    RETRY,
    /** The call doesn't fit what there is, and waiting doesn't help: change the call, or what it doesn't fit (close the other writer, register the handler). */
    USAGE,
    /** The task has to fail and recover from its last checkpoint, or the last commit that lasts. */
    FAIL,
    /** A file is damaged; recover from another checkpoint. */
    CORRUPT;

    static ErrorClass of(int number) {
        ErrorClass[] all = values();
        return number >= 1 && number <= all.length ? all[number - 1] : FAIL;
    }
}
