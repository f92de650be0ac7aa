/* A disk that fails when a test says so: loaded by LD_PRELOAD, told what to do by a file that is
 * mapped, so that it can be armed and disarmed while the program runs. Of the calls that are
 * counted (those of the chosen kinds on files below the chosen path, in every thread and process
 * that has the file), the first-th and the others that are asked for fail, or kill the process.
 * `fault_shim.py` writes the file; the two agree on `struct control`. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    WRITE = 1, PWRITE = 2, FSYNC = 4, FDATASYNC = 8, RENAME = 16, LINK = 32, STAT = 64, OPEN = 128
};

struct control {
    _Atomic uint32_t armed;
    uint32_t calls;              /* the kinds that count */
    int32_t error;               /* 0: SIGKILL */
    uint32_t unused;
    int64_t first;               /* the first call that fails, from 1 */
    int64_t times;               /* how many in a row; 0: all that follow */
    _Atomic int64_t counted;
    _Atomic int64_t failed;
    char prefix[2048];
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("DSHPC_FAULT_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED)
        control = found;
}

static int is_armed(uint32_t call)
{
    return control != NULL && atomic_load(&control->armed) && (control->calls & call);
}

static int is_below(const char *path)
{
    return strncmp(path, control->prefix, strlen(control->prefix)) == 0;
}

/* Count one call; whether it is to fail, with errno set. */
static int fails(void)
{
    int64_t number = atomic_fetch_add(&control->counted, 1) + 1;
    if (number < control->first)
        return 0;
    if (control->times != 0 && number >= control->first + control->times)
        return 0;
    atomic_fetch_add(&control->failed, 1);
    if (control->error == 0)
        kill(getpid(), SIGKILL);
    errno = control->error;
    return 1;
}

static int descriptor_fails(uint32_t call, int fd)
{
    char name[64], path[PATH_MAX];
    if (!is_armed(call))
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return is_below(path) && fails();
}

static int naming_fails(uint32_t call, const char *from, const char *to)
{
    return is_armed(call) && (is_below(from) || is_below(to)) && fails();
}

static int path_fails(uint32_t call, const char *path)
{
    return is_armed(call) && is_below(path) && fails();
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (next == NULL) \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size)
{
    NEXT(write);
    return descriptor_fails(WRITE, fd) ? -1 : next(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    NEXT(pwrite);
    return descriptor_fails(PWRITE, fd) ? -1 : next(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    NEXT(pwrite64);
    return descriptor_fails(PWRITE, fd) ? -1 : next(fd, data, size, offset);
}

int fsync(int fd)
{
    NEXT(fsync);
    return descriptor_fails(FSYNC, fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    return descriptor_fails(FDATASYNC, fd) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename);
    return naming_fails(RENAME, from, to) ? -1 : next(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    NEXT(renameat);
    return naming_fails(RENAME, from, to) ? -1 : next(from_fd, from, to_fd, to);
}

int link(const char *from, const char *to)
{
    NEXT(link);
    return naming_fails(LINK, from, to) ? -1 : next(from, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    NEXT(linkat);
    return naming_fails(LINK, from, to) ? -1 : next(from_fd, from, to_fd, to, flags);
}

/* With "64" what programs call that were built for large files, as Python is. */
#define OPENING(name) \
    int name(const char *path, int flags, ...) \
    { \
        NEXT(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return path_fails(OPEN, path) ? -1 : next(path, flags, mode); \
    }

#define OPENING_AT(name) \
    int name(int folder, const char *path, int flags, ...) \
    { \
        NEXT(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return path_fails(OPEN, path) ? -1 : next(folder, path, flags, mode); \
    }

#define ASKING(name, kind) \
    int name(const char *path, struct kind *found) \
    { \
        NEXT(name); \
        return path_fails(STAT, path) ? -1 : next(path, found); \
    }

#define ASKING_AT(name, kind) \
    int name(int folder, const char *path, struct kind *found, int flags) \
    { \
        NEXT(name); \
        return path_fails(STAT, path) ? -1 : next(folder, path, found, flags); \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
ASKING(stat, stat)
ASKING(stat64, stat64)
ASKING(lstat, stat)
ASKING(lstat64, stat64)
ASKING_AT(fstatat, stat)
ASKING_AT(fstatat64, stat64)

DIR *opendir(const char *path)
{
    NEXT(opendir);
    return path_fails(OPEN, path) ? NULL : next(path);
}
