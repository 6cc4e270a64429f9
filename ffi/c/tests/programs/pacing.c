/* When checkpoints are due, what a recovery would take, and what stands in the way of a promise. */
#include "check.h"
#include <math.h>
#include <stddef.h>

#define SECOND_US UINT64_C(1000000)

static alluvium_store_options with_policy(uint32_t policy, uint64_t time_us) {
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.checkpoint_policy == ALLUVIUM_POLICY_MANUAL && options.policy_time_us == 0 && isinf(options.max_write_amplification));
    options.checkpoint_policy = policy;
    options.policy_time_us = time_us;
    return options;
}

static fixture paced(const char *directory, const char *name, uint32_t policy, uint64_t time_us) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    alluvium_store_options options = with_policy(policy, time_us);
    return set_up(path, &options);
}

/* Writes a little, as so many units of input. */
static void take(fixture *made, uint64_t units) {
    put(made->writer, state_of(made->store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
    OK(alluvium_store_observe_input(made->store, units, ERROR));
}

static uint64_t due_in(alluvium_store store, uint32_t *reason) {
    uint64_t due_in_us = UINT64_MAX;
    OK(alluvium_store_next_checkpoint(store, &due_in_us, reason, ERROR));
    return due_in_us;
}

static uint64_t predicted(alluvium_store store) {
    uint64_t recovery_us = UINT64_MAX;
    OK(alluvium_store_predicted_recovery(store, &recovery_us, ERROR));
    return recovery_us;
}

/* None is ever due, but a recovery is predicted all the same. */
static void manual(const char *directory) {
    fixture made = paced(directory, "manual", ALLUVIUM_POLICY_MANUAL, 0);
    alluvium_conflict conflict;
    take(&made, 1000);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_next_checkpoint(made.store, NULL, NULL, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_checkpoint_conflict(made.store, &conflict, ERROR));
    CHECK(predicted(made.store) > 0 && predicted(made.store) < 1000 * SECOND_US);
    tear_down(&made);
}

static void fixed(const char *directory) {
    fixture made = paced(directory, "fixed", ALLUVIUM_POLICY_FIXED, 1000 * SECOND_US);
    uint32_t reason = UINT32_MAX;
    checkpoint(made.store, 1);
    uint64_t left_us = due_in(made.store, &reason);
    CHECK(left_us > 900 * SECOND_US && left_us <= 1000 * SECOND_US && reason == ALLUVIUM_REASON_INTERVAL);
    tear_down(&made);

    /* What is due stays due until a checkpoint begins. */
    made = paced(directory, "often", ALLUVIUM_POLICY_FIXED, 1);
    while (due_in(made.store, NULL) > 0)
        ;
    CHECK(due_in(made.store, NULL) == 0);
    tear_down(&made);
}

/* 2 x 3,600 s x 0.5 s is the square of 60 s, and 2 x 3,600 s x 8 s that of 240 s. */
static void young(const char *directory) {
    const uint64_t lost_us[] = {SECOND_US / 2, 8 * SECOND_US}, expected_us[] = {60 * SECOND_US, 240 * SECOND_US};
    const char *names[] = {"cheap", "dear"};
    for (int i = 0; i < 2; i++) {
        fixture made = paced(directory, names[i], ALLUVIUM_POLICY_YOUNG, 3600 * SECOND_US);
        OK(alluvium_store_observe_checkpoint_cost(made.store, lost_us[i], ERROR));
        take(&made, 100);
        checkpoint(made.store, 1);
        take(&made, 100);
        uint64_t left_us = due_in(made.store, NULL);
        CHECK(left_us <= expected_us[i] && left_us > expected_us[i] / 2);
        tear_down(&made);
    }
}

/* A millisecond of replay for each unit. */
static void recovery_time(const char *directory) {
    fixture made = paced(directory, "recovery", ALLUVIUM_POLICY_RECOVERY_TIME, 10000 * SECOND_US);
    alluvium_conflict conflict = {99, 99, 0, 0};
    take(&made, 1);
    OK(alluvium_store_observe_replay(made.store, 1000000, 1000 * SECOND_US, ERROR));
    take(&made, 3000000 - 1);
    CHECK(predicted(made.store) >= 3000 * SECOND_US && predicted(made.store) < 3100 * SECOND_US);
    CHECK(due_in(made.store, NULL) > 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_checkpoint_conflict(made.store, &conflict, ERROR));
    checkpoint(made.store, 1);
    CHECK(predicted(made.store) < 100 * SECOND_US);

    take(&made, 9500000);
    uint32_t reason = ALLUVIUM_REASON_INTERVAL;
    while (due_in(made.store, &reason) > 0)
        ;
    CHECK(reason == ALLUVIUM_REASON_LOG || reason == ALLUVIUM_REASON_BURST);
    /* With input at half of the capacity recovery takes twice as long. */
    OK(alluvium_store_observe_rates(made.store, 500, 1000, ERROR));
    CHECK(predicted(made.store) >= 19000 * SECOND_US);
    CHECK(due_in(made.store, NULL) == 0);
    OK(alluvium_store_checkpoint_conflict(made.store, &conflict, ERROR));
    CHECK(conflict.reachable_us >= 19000 * SECOND_US && conflict.cause <= ALLUVIUM_CAUSE_CATCHING_UP);
    /* What isn't known counts for nothing. */
    OK(alluvium_store_observe_rates(made.store, NAN, NAN, ERROR));
    CHECK(predicted(made.store) < 19000 * SECOND_US);
    tear_down(&made);

    /* There is no end to it where input comes faster than it can be worked off, however little is to be redone. */
    made = paced(directory, "endless", ALLUVIUM_POLICY_RECOVERY_TIME, 10000 * SECOND_US);
    take(&made, 1);
    OK(alluvium_store_observe_replay(made.store, 1000000, 1000 * SECOND_US, ERROR));
    take(&made, 1000);
    OK(alluvium_store_observe_rates(made.store, 500, 400, ERROR));
    due_in(made.store, NULL);
    OK(alluvium_store_checkpoint_conflict(made.store, &conflict, ERROR));
    CHECK(conflict.reachable_us == UINT64_MAX && conflict.cause == ALLUVIUM_CAUSE_CATCHING_UP);
    CHECK(predicted(made.store) == UINT64_MAX);
    tear_down(&made);

    /* Opening alone takes longer than that. */
    made = paced(directory, "unreachable", ALLUVIUM_POLICY_RECOVERY_TIME, 1);
    take(&made, 10);
    due_in(made.store, NULL);
    OK(alluvium_store_checkpoint_conflict(made.store, &conflict, ERROR));
    CHECK(conflict.cause == ALLUVIUM_CAUSE_OPEN_COST && conflict.kept == ALLUVIUM_KEPT_WRITE_AMPLIFICATION);
    CHECK(conflict.reachable_us > 1 && conflict.reachable_us < UINT64_MAX);
    tear_down(&made);
}

static void refuse(alluvium_engine engine, const char *path, const alluvium_store_options *options, alluvium_status status) {
    alluvium_store store;
    IS(status, alluvium_store_create(engine, path, options, &store, ERROR));
}

static void misuse(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/misused", directory);
    fixture made;
    made.engine = small_engine();
    for (uint32_t policy = ALLUVIUM_POLICY_FIXED; policy <= ALLUVIUM_POLICY_RECOVERY_TIME; policy++) {
        alluvium_store_options options = with_policy(policy, 0);
        refuse(made.engine, path, &options, ALLUVIUM_OPTIONS);
    }
    alluvium_store_options options = with_policy(4, SECOND_US);
    refuse(made.engine, path, &options, ALLUVIUM_ARGUMENT);
    const double wrong_caps[] = {0, 0.5, -1, NAN, -INFINITY};
    options = with_policy(ALLUVIUM_POLICY_RECOVERY_TIME, SECOND_US);
    for (size_t i = 0; i < sizeof wrong_caps / sizeof *wrong_caps; i++) {
        options.max_write_amplification = wrong_caps[i];
        refuse(made.engine, path, &options, ALLUVIUM_OPTIONS);
    }
    options.size = offsetof(alluvium_store_options, policy_time_us);
    refuse(made.engine, path, &options, ALLUVIUM_ABI);
    /* Of a program that doesn't know the fields: what lies there isn't looked at. */
    options.size = offsetof(alluvium_store_options, checkpoint_policy);
    OK(alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_next_checkpoint(made.store, NULL, NULL, ERROR));

    IS(ALLUVIUM_NULL, alluvium_store_predicted_recovery(made.store, NULL, ERROR));
    const double wrong_rates[] = {-1, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof wrong_rates / sizeof *wrong_rates; i++) {
        IS(ALLUVIUM_ARGUMENT, alluvium_store_observe_rates(made.store, wrong_rates[i], 1, ERROR));
        IS(ALLUVIUM_ARGUMENT, alluvium_store_observe_rates(made.store, 1, wrong_rates[i], ERROR));
    }
    OK(alluvium_store_observe_input(made.store, UINT64_MAX, ERROR));
    OK(alluvium_store_observe_replay(made.store, 0, 0, ERROR));
    OK(alluvium_store_observe_replay(made.store, UINT64_MAX, UINT64_MAX, ERROR));
    OK(alluvium_store_observe_checkpoint_cost(made.store, UINT64_MAX, ERROR));
    predicted(made.store);

    uint64_t us, wrong[] = {0, 1, UINT64_MAX, made.engine.id, made.writer.id};
    alluvium_conflict conflict;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        alluvium_store none = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_store_next_checkpoint(none, &us, NULL, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_predicted_recovery(none, &us, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_checkpoint_conflict(none, &conflict, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_observe_input(none, 1, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_observe_replay(none, 1, 1, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_observe_rates(none, 1, 1, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_store_observe_checkpoint_cost(none, 1, ERROR));
    }
    tear_down(&made);
    made = paced(directory, "null", ALLUVIUM_POLICY_RECOVERY_TIME, 1);
    OK(alluvium_store_next_checkpoint(made.store, NULL, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_checkpoint_conflict(made.store, NULL, ERROR));
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    manual(argv[1]);
    fixed(argv[1]);
    young(argv[1]);
    recovery_time(argv[1]);
    misuse(argv[1]);
    return 0;
}
