/* See disk_model.h.  One pass resolves names to inodes, as they were when the call was made, and
 * notes which later fsync makes a change durable; a crash state is then a second pass over the
 * changes that survive. */
#include "tests/chaos/disk_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_INODES 256
#define MAX_ENTRIES 256
#define MAX_CHANGES 2048
#define NAME_SIZE 96
#define SECTOR 512
#define NONE (-1)

struct entry {
    int parent; /* inode */
    char name[NAME_SIZE];
    int inode; /* NONE: free */
};

struct change {
    enum fault_op op;
    int subject; /* inode whose fsync makes it durable: the file, or the directory of the name */
    int inode;   /* what is written, made, renamed or removed */
    char name[NAME_SIZE];
    char new_name[NAME_SIZE];
    uint64_t offset;
    uint64_t size;
    const unsigned char *data; /* in the log, or the initial contents */
    size_t durable_from;       /* crash points from here on cannot lose it */
    enum disk_fate fate;
    uint64_t seed;
};

struct file {
    bool is_directory;
    unsigned char *data;
    uint64_t size;
    uint64_t capacity;
};

struct disk_model {
    enum disk_ignore ignore;
    char root[PATH_MAX];
    struct fault_log *log; /* a private copy: the changes point into it */
    struct entry live[MAX_ENTRIES];
    struct entry built[MAX_ENTRIES];
    struct file file[MAX_INODES];
    int inodes; /* number 0 is the root */
    struct change change[MAX_CHANGES];
    size_t changes;
    size_t *change_end; /* by crash point: how many changes were made */
    size_t *marks;      /* by crash point */
    size_t points;
    size_t at; /* the crash point */
    size_t pending[MAX_CHANGES];
    size_t pending_count;
    unsigned char *kept[MAX_INODES]; /* contents of the initial files */
};

#define require(holds, what) ((holds) ? (void)0 : give_up(what))

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "disk model: %s (%s)\n", what, strerror(errno));
    abort();
}

static struct entry *find(struct entry *table, int parent, const char *name)
{
    for (int i = 0; i < MAX_ENTRIES; i++)
        if (table[i].inode != NONE && table[i].parent == parent && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static void set_entry(struct entry *table, int parent, const char *name, int inode)
{
    struct entry *entry = find(table, parent, name);

    for (int i = 0; i < MAX_ENTRIES && entry == NULL; i++)
        if (table[i].inode == NONE)
            entry = &table[i];
    require(entry != NULL && strlen(name) < NAME_SIZE, "too many names");
    entry->parent = parent;
    snprintf(entry->name, NAME_SIZE, "%s", name);
    entry->inode = inode;
}

static void clear_entry(struct entry *table, int parent, const char *name, int inode)
{
    struct entry *entry = find(table, parent, name);

    if (entry != NULL && entry->inode == inode)
        entry->inode = NONE;
}

static int new_inode(struct disk_model *disk, bool is_directory)
{
    require(disk->inodes < MAX_INODES, "too many files");
    disk->file[disk->inodes].is_directory = is_directory;
    return disk->inodes++;
}

/* The inode of a path and of its directory, and its last name; inode NONE when it is not there. */
static int resolve(struct disk_model *disk, const char *path, int *parent, char name[NAME_SIZE])
{
    const char *at = path + strlen(disk->root);
    int inode = 0;

    *parent = NONE;
    name[0] = '\0';
    while (*at == '/') {
        size_t length = strcspn(++at, "/");
        struct entry *entry;

        if (length == 0)
            break;
        require(length < NAME_SIZE && inode != NONE, "a path it cannot follow");
        memcpy(name, at, length);
        name[length] = '\0';
        *parent = inode;
        entry = find(disk->live, inode, name);
        inode = entry == NULL ? NONE : entry->inode;
        at += length;
    }
    return inode;
}

static struct change *add_change(struct disk_model *disk, enum fault_op op, int subject, int inode)
{
    struct change *change = &disk->change[disk->changes];

    require(disk->changes < MAX_CHANGES, "too many changes");
    disk->changes++;
    *change =
        (struct change){.op = op, .subject = subject, .inode = inode, .durable_from = SIZE_MAX};
    return change;
}

/* A change that was durable before the log began. */
static struct change *add_initial(struct disk_model *disk, enum fault_op op, int subject, int inode)
{
    struct change *change = add_change(disk, op, subject, inode);

    change->durable_from = 0;
    return change;
}

static void load_file(struct disk_model *disk, const char *path, uint64_t size, int inode)
{
    struct change *change = add_initial(disk, FAULT_WRITE, inode, inode);
    unsigned char *data = malloc((size_t)size + 1);
    int fd = open(path, O_RDONLY);

    require(fd >= 0 && data != NULL && read(fd, data, (size_t)size) == (ssize_t)size, path);
    close(fd);
    disk->kept[inode] = data;
    change->data = data;
    change->size = size;
}

static void load_directory(struct disk_model *disk, const char *path, int parent)
{
    DIR *directory = opendir(path);
    struct dirent *entry;

    require(directory != NULL, path);
    while ((entry = readdir(directory)) != NULL) {
        char child[PATH_MAX];
        struct stat status;
        size_t length = strlen(entry->d_name);
        int inode;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        require(stat(child, &status) == 0 && length < NAME_SIZE, child);
        inode = new_inode(disk, S_ISDIR(status.st_mode));
        set_entry(disk->live, parent, entry->d_name, inode);
        memcpy(add_initial(disk, FAULT_CREATE, parent, inode)->name, entry->d_name, length + 1);
        if (S_ISDIR(status.st_mode))
            load_directory(disk, child, inode);
        else
            load_file(disk, child, (uint64_t)status.st_size, inode);
    }
    closedir(directory);
}

static void take_sync(struct disk_model *disk, int inode)
{
    bool is_directory = disk->file[inode].is_directory;

    if (disk->ignore == DISK_IGNORE_ALL_SYNC ||
        (disk->ignore == DISK_IGNORE_DIRECTORY_SYNC && is_directory))
        return;
    for (size_t i = 0; i < disk->changes; i++)
        if (disk->change[i].subject == inode && disk->change[i].durable_from == SIZE_MAX)
            disk->change[i].durable_from = disk->points;
}

static void take_name(struct disk_model *disk, enum fault_op op, const char *path, const char *to)
{
    char name[NAME_SIZE];
    char new_name[NAME_SIZE] = "";
    int parent;
    int inode = resolve(disk, path, &parent, name);
    struct change *change;

    if (op == FAULT_CREATE || op == FAULT_MKDIR) {
        inode = new_inode(disk, op == FAULT_MKDIR);
        set_entry(disk->live, parent, name, inode);
    } else {
        clear_entry(disk->live, parent, name, inode);
    }
    if (op == FAULT_RENAME) {
        int other;

        resolve(disk, to, &other, new_name);
        require(other == parent, "a rename into another directory");
        set_entry(disk->live, parent, new_name, inode);
    }
    change = add_change(disk, op, parent, inode);
    snprintf(change->name, NAME_SIZE, "%s", name);
    snprintf(change->new_name, NAME_SIZE, "%s", new_name);
}

static void take_record(struct disk_model *disk, const struct fault_record *head, const char *path,
                        const unsigned char *data)
{
    char name[NAME_SIZE];
    int parent;
    struct change *change;
    int inode;

    switch ((enum fault_op)head->op) {
    case FAULT_MARK:
        disk->marks[disk->points]++;
        return;
    case FAULT_SYNC:
        take_sync(disk, resolve(disk, path, &parent, name));
        return;
    case FAULT_WRITE:
    case FAULT_TRUNCATE:
    case FAULT_ALLOCATE:
        inode = resolve(disk, path, &parent, name);
        change = add_change(disk, (enum fault_op)head->op, inode, inode);
        change->offset = head->offset;
        change->size = head->size;
        change->data = data;
        return;
    default:
        take_name(disk, (enum fault_op)head->op, path, (const char *)data);
        return;
    }
}

static size_t count_records(const struct fault_log *log)
{
    size_t count = 0;

    for (uint64_t at = 0; at < log->used; count++) {
        struct fault_record head;

        memcpy(&head, log->bytes + at, sizeof head);
        at += sizeof head + head.path_size + head.size;
    }
    return count;
}

struct disk_model *disk_new(const char *root, const struct fault_log *log, enum disk_ignore ignore)
{
    struct disk_model *disk = calloc(1, sizeof *disk);
    size_t records = count_records(log);

    require(disk != NULL, "no memory");
    disk->ignore = ignore;
    snprintf(disk->root, sizeof disk->root, "%s", root);
    for (int i = 0; i < MAX_ENTRIES; i++)
        disk->live[i].inode = NONE;
    disk->log = malloc(sizeof *log + log->used);
    disk->change_end = calloc(records + 1, sizeof *disk->change_end);
    disk->marks = calloc(records + 1, sizeof *disk->marks);
    require(disk->log != NULL && disk->change_end != NULL && disk->marks != NULL, "no memory");
    memcpy(disk->log, log, sizeof *log + log->used);
    load_directory(disk, root, new_inode(disk, true));
    disk->change_end[0] = disk->changes;
    for (uint64_t at = 0; at < log->used;) {
        struct fault_record head;
        const unsigned char *record = disk->log->bytes + at;

        memcpy(&head, record, sizeof head);
        disk->points++;
        disk->marks[disk->points] = disk->marks[disk->points - 1];
        take_record(disk, &head, (const char *)record + sizeof head,
                    record + sizeof head + head.path_size);
        disk->change_end[disk->points] = disk->changes;
        at += sizeof head + head.path_size + head.size;
    }
    return disk;
}

static void drop_contents(struct disk_model *disk)
{
    for (int i = 0; i < disk->inodes; i++) {
        free(disk->file[i].data);
        disk->file[i].data = NULL;
        disk->file[i].size = disk->file[i].capacity = 0;
    }
}

void disk_free(struct disk_model *disk)
{
    if (disk == NULL)
        return;
    drop_contents(disk);
    for (int i = 0; i < MAX_INODES; i++)
        free(disk->kept[i]);
    free(disk->log);
    free(disk->change_end);
    free(disk->marks);
    free(disk);
}

size_t disk_points(const struct disk_model *disk)
{
    return disk->points + 1;
}

size_t disk_marks(const struct disk_model *disk, size_t point)
{
    return disk->marks[point];
}

size_t disk_crash(struct disk_model *disk, size_t point)
{
    disk->at = point;
    disk->pending_count = 0;
    for (size_t i = 0; i < disk->change_end[point]; i++) {
        disk->change[i].fate = DISK_KEPT;
        if (disk->change[i].durable_from > point)
            disk->pending[disk->pending_count++] = i;
    }
    return disk->pending_count;
}

void disk_decide(struct disk_model *disk, size_t pending, enum disk_fate fate, uint64_t seed)
{
    disk->change[disk->pending[pending]].fate = fate;
    disk->change[disk->pending[pending]].seed = seed;
}

static void set_size(struct file *file, uint64_t size)
{
    if (size > file->capacity) {
        file->capacity = size * 2;
        file->data = realloc(file->data, file->capacity);
        require(file->data != NULL, "no memory");
    }
    if (size > file->size)
        memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

/* A torn write leaves some of its sectors as they were; when the last are missing, so is the size
 * they would have given the file. */
static void apply_write(struct file *file, const struct change *change)
{
    uint64_t random = change->seed | 1;

    for (uint64_t at = 0; at < change->size;) {
        uint64_t sector_end = (change->offset + at) / SECTOR * SECTOR + SECTOR;
        uint64_t part = sector_end - change->offset - at;

        if (part > change->size - at)
            part = change->size - at;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        if (change->fate == DISK_KEPT || (random >> 40) % 2 == 0) {
            uint64_t end = change->offset + at + part;

            if (end > file->size)
                set_size(file, end);
            memcpy(file->data + change->offset + at, change->data + at, part);
        }
        at += part;
    }
}

static void apply(struct disk_model *disk, const struct change *change)
{
    struct file *file = &disk->file[change->inode];

    switch (change->op) {
    case FAULT_WRITE:
        apply_write(file, change);
        break;
    case FAULT_TRUNCATE:
        set_size(file, change->offset);
        break;
    case FAULT_ALLOCATE:
        if (change->offset > file->size)
            set_size(file, change->offset);
        break;
    case FAULT_CREATE:
    case FAULT_MKDIR:
        set_entry(disk->built, change->subject, change->name, change->inode);
        break;
    case FAULT_RENAME:
        clear_entry(disk->built, change->subject, change->name, change->inode);
        set_entry(disk->built, change->subject, change->new_name, change->inode);
        break;
    case FAULT_UNLINK:
    case FAULT_RMDIR:
        clear_entry(disk->built, change->subject, change->name, change->inode);
        break;
    case FAULT_SYNC:
    case FAULT_MARK:
        break;
    }
}

/* FNV-1a, eight bytes at a time where there are eight. */
static uint64_t mix(uint64_t hash, const void *data, uint64_t size)
{
    const unsigned char *bytes = data;

    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), bytes += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    for (; size > 0; size--, bytes++)
        hash = (hash ^ *bytes) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t disk_build(struct disk_model *disk)
{
    uint64_t hash = 0;

    drop_contents(disk);
    for (int i = 0; i < MAX_ENTRIES; i++)
        disk->built[i].inode = NONE;
    for (size_t i = 0; i < disk->change_end[disk->at]; i++)
        if (disk->change[i].fate != DISK_LOST)
            apply(disk, &disk->change[i]);
    for (int i = 0; i < MAX_ENTRIES; i++) {
        const struct entry *entry = &disk->built[i];
        uint64_t one = UINT64_C(0xcbf29ce484222325);

        if (entry->inode == NONE)
            continue;
        one = mix(one, &entry->parent, sizeof entry->parent);
        one = mix(one, entry->name, strlen(entry->name) + 1);
        one = mix(one, &disk->file[entry->inode].size, sizeof(uint64_t));
        hash += mix(one, disk->file[entry->inode].data, disk->file[entry->inode].size);
    }
    return hash;
}

static void write_directory(const struct disk_model *disk, int inode, const char *path)
{
    for (int i = 0; i < MAX_ENTRIES; i++) {
        const struct entry *entry = &disk->built[i];
        const struct file *file;
        char child[PATH_MAX];
        int fd;

        if (entry->inode == NONE || entry->parent != inode)
            continue;
        file = &disk->file[entry->inode];
        snprintf(child, sizeof child, "%s/%s", path, entry->name);
        if (file->is_directory) {
            require(mkdir(child, 0777) == 0, child);
            write_directory(disk, entry->inode, child);
            continue;
        }
        fd = open(child, O_WRONLY | O_CREAT | O_EXCL, 0666);
        require(fd >= 0, child);
        require(file->size == 0 || write(fd, file->data, (size_t)file->size) == (ssize_t)file->size,
                child);
        close(fd);
    }
}

void disk_write_out(const struct disk_model *disk, const char *folder)
{
    write_directory(disk, 0, folder);
}
