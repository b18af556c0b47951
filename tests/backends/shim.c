/* Stands between SQLite and the kernel, or between Redis and it: writes down what is done to a
 * database file, or to an append-only file, and fails on request. Loaded with LD_PRELOAD by tests
 * of power loss and of failing disks.
 *
 * SHIM_DATABASE names the file, with its folder, as the program names it; its -wal and -journal,
 * and a file of the same name with "-acks", and the folder of all of them, are watched as well.
 * With SHIM_TOLD, so is what goes out through sockets. SHIM_JOURNAL names the file that is written
 * to, one entry after the other in the order in which things were done:
 *
 *     u8 what, u8 file, u16 zero, u32 length, i64 offset, then `length` bytes of what was written
 *
 * (A failed sync has offset -1.)
 *
 * `shim_fail` and `shim_space` are called by the program under test, through ctypes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum what { CREATED = 1, WRITTEN, TRUNCATED, SYNCED, UNLINKED, FAILED, TOLD };
enum file { NONE = 0, DATABASE, WAL, ROLLBACK, ACKS, FOLDER };

#define MOST 4096
static uint8_t file_of[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const char *database;
static int told;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

static double fail_sync, fail_write;
static uint64_t random_state = 88172645463325252ull;
static int64_t space = -1;
static int64_t failures;

__attribute__((constructor)) static void start(void)
{
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    database = getenv("SHIM_DATABASE");
    if (database != NULL)
        database = strdup(database); /* Redis writes its title over its environment */
    told = getenv("SHIM_TOLD") != NULL;
    const char *path = getenv("SHIM_JOURNAL");
    if (path != NULL)
        journal = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static enum file file_at(const char *path)
{
    if (database == NULL || path == NULL || strchr(database, '/') == NULL)
        return NONE;
    size_t length = strlen(database);
    size_t folder = (size_t) (strrchr(database, '/') - database);
    if (strlen(path) == folder && strncmp(path, database, folder) == 0)
        return FOLDER;
    if (strncmp(path, database, length) != 0)
        return NONE;
    const char *rest = path + length;
    if (*rest == 0)
        return DATABASE;
    if (strcmp(rest, "-wal") == 0)
        return WAL;
    if (strcmp(rest, "-journal") == 0)
        return ROLLBACK;
    if (strcmp(rest, "-acks") == 0)
        return ACKS;
    return NONE;
}

static enum file file_behind(int fd)
{
    return fd >= 0 && fd < MOST ? file_of[fd] : NONE;
}

/* Called with the lock held. */
static void note(enum what what, enum file file, int64_t offset, const void *data, uint32_t length)
{
    if (journal < 0)
        return;
    struct { uint8_t what, file; uint16_t zero; uint32_t length; int64_t offset; } entry =
        { what, file, 0, length, offset };
    if (real_write(journal, &entry, sizeof entry) != sizeof entry)
        abort();
    if (length > 0 && real_write(journal, data, length) != (ssize_t) length)
        abort();
}

static int happens(double probability)
{
    if (probability <= 0)
        return 0;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) * 0x1.0p-53 < probability;
}

/* From now on, let so many of all syncs and writes fail with EIO; a failed write has written half. */
void shim_fail(double sync, double write, uint64_t seed)
{
    pthread_mutex_lock(&lock);
    fail_sync = sync;
    fail_write = write;
    if (seed != 0)
        random_state = seed * 0x9E3779B97F4A7C15ull | 1;
    pthread_mutex_unlock(&lock);
}

/* From now on, let the files grow by so many bytes and no more; -1: without limit. */
void shim_space(int64_t bytes)
{
    pthread_mutex_lock(&lock);
    space = bytes;
    pthread_mutex_unlock(&lock);
}

/* How many calls have failed on request so far. */
int64_t shim_failures(void)
{
    return failures;
}

static int opened(int fd, const char *path, int flags)
{
    enum file file = file_at(path);
    if (fd >= 0 && fd < MOST) {
        pthread_mutex_lock(&lock);
        file_of[fd] = file;
        if (file != NONE && (flags & O_CREAT))
            note(CREATED, file, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(real_open(path, flags, mode), path, flags);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(real_open(path, flags, mode), path, flags);
}

int close(int fd)
{
    if (fd >= 0 && fd < MOST)
        file_of[fd] = NONE;
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    enum file file = file_behind(fd);
    if (file == NONE)
        return real_pwrite(fd, data, length, offset);
    pthread_mutex_lock(&lock);
    size_t wanted = length;
    int64_t grows = 0;
    int error = 0;
    if (file != ACKS && space >= 0) {
        struct stat64 now;
        fstat64(fd, &now);
        grows = offset + (int64_t) length - now.st_size;
        if (grows > space) {
            wanted = grows - space < (int64_t) length ? length - (size_t) (grows - space) : 0;
            error = ENOSPC;
        }
    }
    if (file != ACKS && error == 0 && happens(fail_write)) {
        wanted = length / 2;
        error = EIO;
    }
    ssize_t done = wanted > 0 ? real_pwrite(fd, data, wanted, offset) : 0;
    if (done > 0)
        note(WRITTEN, file, offset, data, (uint32_t) done);
    if (error != 0) {
        failures++;
        note(FAILED, file, offset, NULL, 0);
        if (error == ENOSPC && done > 0) {
            space = 0; /* a short write; the next one fails */
        } else {
            errno = error;
            done = -1;
        }
    } else if (space > 0 && grows > 0) {
        space -= grows;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

/* Somebody is about to be told something, if that is to be known. */
static void tell(int fd)
{
    struct stat64 now;
    if (!told || fstat64(fd, &now) != 0 || !S_ISSOCK(now.st_mode))
        return;
    pthread_mutex_lock(&lock);
    note(TOLD, NONE, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    tell(fd);
    return real_writev(fd, parts, count);
}

ssize_t write(int fd, const void *data, size_t length)
{
    enum file file = file_behind(fd);
    if (file == NONE) {
        tell(fd);
        return real_write(fd, data, length);
    }
    pthread_mutex_lock(&lock);
    int64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, data, length);
    if (done > 0)
        note(WRITTEN, file, offset, data, (uint32_t) done);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int fd, off64_t size)
{
    enum file file = file_behind(fd);
    if (file == NONE)
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    int done = real_ftruncate(fd, size);
    if (done == 0)
        note(TRUNCATED, file, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

static int sync_of(int fd, int (*real)(int))
{
    enum file file = file_behind(fd);
    if (file == NONE)
        return real(fd);
    pthread_mutex_lock(&lock);
    int done;
    if (happens(fail_sync)) {
        failures++;
        note(FAILED, file, -1, NULL, 0);
        errno = EIO;
        done = -1;
    } else {
        done = 0; /* the journal is the disk: waiting for the real one would prove nothing */
        note(SYNCED, file, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd)
{
    return sync_of(fd, real_fsync);
}

int fdatasync(int fd)
{
    return sync_of(fd, real_fdatasync);
}

int unlink(const char *path)
{
    enum file file = file_at(path);
    if (file == NONE)
        return real_unlink(path);
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    if (done == 0)
        note(UNLINKED, file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
