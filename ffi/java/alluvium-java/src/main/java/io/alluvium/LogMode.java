package io.alluvium;

/** How changes that a {@link Handler} makes for an event get into the changelog. Others are always logged as what they changed. */
public enum LogMode {
    /** As what was changed. An event that changes any such state is logged so as a whole. */
    STATE,
    /** As the event, which recovery applies again. */
    EVENT,
    /** As whatever of both is shorter. So is an event that changes such states and those of {@link #EVENT}. */
    AUTO
}
