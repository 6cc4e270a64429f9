/* Of `races.c`: checkpoints, commits and their files. */
/* Checkpoints on their way. */
static uint64_t open_pending(void) {
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 99};
    alluvium_pending pending;
    OK(alluvium_store_barrier(all.store, &barrier, &pending, ERROR));
    return pending.id;
}
static alluvium_status close_pending(uint64_t id, racer *own) {
    (void)own;
    return alluvium_pending_close((alluvium_pending){id}, ERROR);
}
static alluvium_status pending_label(uint64_t id, racer *own) {
    uint64_t its_label = 0;
    (void)own;
    alluvium_status status = alluvium_pending_label((alluvium_pending){id}, &its_label, ERROR);
    CHECK(status < 0 || its_label == 99);
    return status;
}
static alluvium_status pending_poll(uint64_t id, racer *own) {
    alluvium_info info;
    (void)own;
    return is_info(alluvium_pending_poll((alluvium_pending){id}, &info, ERROR), &info);
}
static alluvium_status pending_wait(uint64_t id, racer *own) {
    alluvium_info info;
    (void)own;
    return is_info(alluvium_pending_wait((alluvium_pending){id}, &info, ERROR), &info);
}
static alluvium_status pending_abort(uint64_t id, racer *own) { return own->number == 0 ? alluvium_pending_abort((alluvium_pending){id}, ERROR) : ALLUVIUM_OK; }

/* Infos. What they point to is good until they are closed, so it is not looked at here. */
static uint64_t open_info(void) {
    alluvium_info info;
    OK(alluvium_store_checkpoint(all.store, 0, &info, ERROR));
    return info.id;
}
static alluvium_status close_info(uint64_t id, racer *own) {
    (void)own;
    return alluvium_info_close((alluvium_info){id}, ERROR);
}
static alluvium_status info_numbers(uint64_t id, racer *own) {
    alluvium_numbers numbers = {.size = sizeof numbers};
    (void)own;
    alluvium_status status = alluvium_info_numbers((alluvium_info){id}, &numbers, ERROR);
    CHECK(status < 0 || (numbers.label > 0 && numbers.segments > 0));
    return status;
}
static alluvium_status info_metadata(uint64_t id, racer *own) {
    alluvium_slice metadata = text("not empty");
    (void)own;
    alluvium_status status = alluvium_info_metadata((alluvium_info){id}, &metadata, ERROR);
    CHECK(status < 0 || metadata.len == 0);
    return status;
}
static alluvium_status info_offset(uint64_t id, racer *own) {
    alluvium_offset offset;
    (void)own;
    return alluvium_info_offset((alluvium_info){id}, 0, &offset, ERROR);
}
static alluvium_status info_position(uint64_t id, racer *own) {
    uint64_t position = 0;
    (void)own;
    alluvium_status status = alluvium_info_position((alluvium_info){id}, &position, ERROR);
    CHECK(status < 0 || position > 0);
    return status;
}

/* Commits. */
static uint64_t open_commit(void) {
    alluvium_commit commit;
    OK(alluvium_store_commit_lasting(all.store, NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, &commit, ERROR));
    return commit.id;
}
static alluvium_status close_commit(uint64_t id, racer *own) {
    (void)own;
    return alluvium_commit_close((alluvium_commit){id}, ERROR);
}
static alluvium_status commit_wait(uint64_t id, racer *own) {
    (void)own;
    return alluvium_commit_wait((alluvium_commit){id}, ERROR);
}
static alluvium_status commit_poll(uint64_t id, racer *own) {
    (void)own;
    return alluvium_commit_poll((alluvium_commit){id}, ERROR);
}
static void let_it_go(void *context) {
    (void)context;
    atomic_fetch_add(&let_go_of, 1);
}
static atomic_size_t lasting_asked;
static alluvium_status commit_on_lasting(uint64_t id, racer *own) {
    (void)own;
    /* The context is the library's, whatever the call comes to. */
    atomic_fetch_add(&lasting_asked, 1);
    return alluvium_commit_on_lasting((alluvium_commit){id}, on_lasting, &told, let_it_go, ERROR);
}
static alluvium_status commit_position(uint64_t id, racer *own) {
    uint64_t position = 0;
    (void)own;
    alluvium_status status = alluvium_commit_position((alluvium_commit){id}, &position, ERROR);
    CHECK(status < 0 || position > 0);
    return status;
}
static alluvium_status commit_info(uint64_t id, racer *own) {
    alluvium_info info;
    (void)own;
    return is_info(alluvium_commit_info((alluvium_commit){id}, &info, ERROR), &info);
}

/* A checkpoint's files. */
static uint64_t open_files(void) {
    alluvium_files files;
    OK(alluvium_store_files(all.store, 2, &files, ERROR));
    return files.id;
}
static alluvium_status close_files(uint64_t id, racer *own) {
    (void)own;
    return alluvium_files_close((alluvium_files){id}, ERROR);
}
static alluvium_status files_get(uint64_t id, racer *own) {
    alluvium_file file = {.bytes = 0};
    (void)own;
    alluvium_status status = alluvium_files_get((alluvium_files){id}, 0, &file, ERROR);
    CHECK(status < 0 || (file.bytes > 0 && strlen(file.name) > 0));
    return status;
}
static alluvium_status files_read(uint64_t id, racer *own) {
    uint8_t expected[8];
    OK(alluvium_files_read(all.files, 0, 0, expected, sizeof expected, ERROR));
    alluvium_status status = alluvium_files_read((alluvium_files){id}, 0, 0, own->memory, sizeof expected, ERROR);
    CHECK(status < 0 || memcmp(own->memory, expected, 4) == 0); /* what each segment begins with */
    return status;
}
static alluvium_status files_info(uint64_t id, racer *own) {
    alluvium_info info;
    (void)own;
    return is_info(alluvium_files_info((alluvium_files){id}, &info, ERROR), &info);
}
static alluvium_status files_manifest(uint64_t id, racer *own) {
    alluvium_slice manifest = NOTHING;
    (void)own;
    alluvium_status status = alluvium_files_manifest((alluvium_files){id}, &manifest, ERROR);
    CHECK(status < 0 || manifest.len > 0);
    return status;
}

/* What a store wants of its host, which has nothing to want: all its files are there. */
static uint64_t open_fetches(void) {
    alluvium_fetches fetches;
    OK(alluvium_store_fetches(all.store, &fetches, ERROR));
    return fetches.id;
}
static alluvium_status close_fetches(uint64_t id, racer *own) {
    (void)own;
    return alluvium_fetches_close((alluvium_fetches){id}, ERROR);
}
static alluvium_status fetches_wait(uint64_t id, racer *own) {
    alluvium_fetch_request request;
    size_t count = 1;
    alluvium_status status = own->number % 2 ? alluvium_fetches_wait((alluvium_fetches){id}, 1, &request, 1, &count, ERROR)
                                             : alluvium_fetches_wait_demanded((alluvium_fetches){id}, 1, &request, 1, &count, ERROR);
    CHECK(status < 0 || count == 0);
    return status;
}
static alluvium_status fetches_wake(uint64_t id, racer *own) {
    (void)own;
    return alluvium_fetches_wake((alluvium_fetches){id}, ERROR);
}
static alluvium_status fetches_cancel(uint64_t id, racer *own) {
    (void)own;
    return alluvium_fetches_cancel((alluvium_fetches){id}, ERROR);
}
static alluvium_status fetches_prefer(uint64_t id, racer *own) {
    (void)own;
    return alluvium_fetches_prefer((alluvium_fetches){id}, "no such file", 0, 1, ERROR);
}
static alluvium_status fetches_fail(uint64_t id, racer *own) {
    (void)own;
    return alluvium_fetches_fail((alluvium_fetches){id}, 77, "nobody asked", ERROR);
}
static alluvium_status fetches_absent(uint64_t id, racer *own) {
    size_t count = 1;
    (void)own;
    alluvium_status status = alluvium_fetches_absent((alluvium_fetches){id}, &count, ERROR);
    CHECK(status < 0 || count == 0);
    return status;
}
