package io.alluvium;

/** How bad events are taken back ({@link Writer#repair}). */
public enum RepairWay {
    /** Whichever is the cheaper of those that are sure, for each key group. */
    AUTO,
    /** By adding the inverse of what they added; refused where that isn't sure. */
    INVERSE,
    /** By applying again what came after. */
    REEXECUTE,
    /** By a function of the host's: {@link Writer#compensate}, the only one that takes one. */
    USER
}
