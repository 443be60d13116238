/* Laying out a shard with HDF5: contiguous datasets, each on blocks of its own.
 *
 * Alignment has threshold 1 so that a small dataset never shares a 4 KiB block with a neighbour
 * whose padded tail would overwrite it.  The format is pinned to 1.10, so that a newer library
 * still writes what 1.10 reads.  Dataset names are the tensors' with '/' and '%' escaped, since
 * "a" and "a/b" may both be registered and HDF5 would need "a" to be a group. */
#include "worker/checkpoint/shard.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE (3 * RK_LAYOUT_NAME_MAX + 1)

struct hdf5_error {
    int errnum;
    char text[200];
};

/* Keeps the innermost message; the system's error number stands inside its text. */
static herr_t note_error(unsigned n, const H5E_error2_t *error, void *context)
{
    struct hdf5_error *noted = context;
    const char *number = error->desc == NULL ? NULL : strstr(error->desc, "errno = ");

    if (n == 0 && error->desc != NULL)
        snprintf(noted->text, sizeof noted->text, "%s", error->desc);
    if (number != NULL && noted->errnum == 0)
        noted->errnum = atoi(number + strlen("errno = "));
    return 0;
}

static int fail_hdf5(struct rk_why *why, const char *path, const char *what)
{
    struct hdf5_error error = {.text = "no message"};

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_error, &error);
    if (error.errnum > 0)
        return rk_fail_errno(why, error.errnum, "%s: %s failed", path, what);
    return rk_fail(why, RK_EIO, "%s: %s failed: HDF5 says \"%s\"", path, what, error.text);
}

/* A floating-point type of 16 bits, made from float32: the sign, `exponent` bits, the fraction. */
static hid_t half_type(size_t exponent)
{
    size_t fraction = 15 - exponent;
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);

    if (type < 0 || H5Tset_fields(type, 15, fraction, exponent, 0, fraction) < 0 ||
        H5Tset_size(type, 2) < 0 || H5Tset_ebias(type, (1u << (exponent - 1)) - 1) < 0) {
        if (type >= 0)
            H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

static hid_t standard_type(uint32_t dtype)
{
    switch (dtype) {
    case 1:
        return H5T_IEEE_F32LE;
    case 2:
        return H5T_IEEE_F64LE;
    case 3:
        return H5T_STD_I32LE;
    case 4:
        return H5T_STD_I64LE;
    case 5:
        return H5T_STD_U8LE;
    case 6:
        return H5T_STD_U64LE;
    default:
        return H5I_INVALID_HID;
    }
}

/* To be closed with H5Tclose. */
static hid_t type_open(uint32_t dtype)
{
    if (dtype == 7)
        return half_type(5);
    if (dtype == 8)
        return half_type(8);
    return H5Tcopy(standard_type(dtype));
}

static void escape_name(char to[NAME_SIZE], const char *name)
{
    bool dot = strcmp(name, ".") == 0;

    for (; *name != '\0'; name++) {
        if (*name == '/' || *name == '%' || dot)
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*name);
        else
            *to++ = *name;
    }
    *to = '\0';
}

/* A one-dimensional attribute; `count` may be 0. */
static int put_attribute(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                         const void *data, uint64_t count)
{
    hsize_t dims = count;
    hid_t space = H5Screate_simple(1, &dims, NULL);
    hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    int bad = space < 0 || attribute < 0;

    if (!bad && count > 0)
        bad = H5Awrite(attribute, memory_type, data) < 0;
    if (attribute >= 0)
        bad |= H5Aclose(attribute) < 0;
    if (space >= 0)
        H5Sclose(space);
    return bad ? -1 : 0;
}

static int put_u64(hid_t object, const char *name, const uint64_t *data, uint64_t count)
{
    return put_attribute(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, data, count);
}

static hid_t make_space(const struct rk_tensor *tensor, const struct piece *piece)
{
    hsize_t dims[RK_LAYOUT_MAX_DIMS] = {0};
    hsize_t range = piece->count;

    if (piece->bytes != tensor->bytes)
        return H5Screate_simple(1, &range, NULL);
    if (tensor->ndim == 0)
        return H5Screate(H5S_SCALAR);
    for (uint32_t d = 0; d < tensor->ndim; d++)
        dims[d] = tensor->shape[d];
    return H5Screate_simple((int)tensor->ndim, dims, NULL);
}

/* A whole tensor keeps its shape, a part of one is a range of elements. */
static int make_dataset(hid_t file, hid_t dcpl, const struct rk_layout *layout, struct piece *piece,
                        const uint32_t *crc)
{
    const struct rk_tensor *tensor = &layout->tensor[piece->tensor];
    uint64_t index = piece->tensor;
    uint32_t none = 0;
    char name[NAME_SIZE];
    haddr_t offset;
    hid_t space = make_space(tensor, piece);
    hid_t set;
    hid_t type = type_open(tensor->dtype);
    int bad;

    escape_name(name, tensor->name);
    set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    bad = space < 0 || set < 0;
    if (type >= 0)
        H5Tclose(type);
    bad =
        bad || put_u64(set, "index", &index, 1) != 0 ||
        put_u64(set, "global_shape", tensor->shape, tensor->ndim) != 0 ||
        put_u64(set, "start", &piece->start, 1) != 0 ||
        put_u64(set, "count", &piece->count, 1) != 0 ||
        put_attribute(set, "crc32c", H5T_STD_U32LE, H5T_NATIVE_UINT32,
                      crc == NULL ? &none : crc + piece->crc, parts_block_count(piece->bytes)) != 0;
    offset = bad || piece->bytes == 0 ? 0 : H5Dget_offset(set);
    bad = bad || offset == HADDR_UNDEF || offset % PARTS_ALIGN != 0;
    piece->offset = offset;
    if (set >= 0)
        bad |= H5Dclose(set) < 0;
    if (space >= 0)
        H5Sclose(space);
    return bad ? -1 : 0;
}

/* Metadata goes in blocks that hold what this many datasets need, so that a small shard stays
 * small. */
static hsize_t meta_block(size_t count)
{
    hsize_t bytes = (4096 + (hsize_t)count * 1024 + 4095) & ~(hsize_t)4095;

    return bytes < (1u << 20) ? bytes : (1u << 20);
}

static hid_t create_file(const char *path, size_t count)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file = H5I_INVALID_HID;

    if (fapl < 0)
        return fapl;
    if (H5Pset_libver_bounds(fapl, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
        H5Pset_alignment(fapl, 1, PARTS_ALIGN) >= 0 &&
        H5Pset_meta_block_size(fapl, meta_block(count)) >= 0 &&
        H5Pset_file_locking(fapl, 0, 1) >= 0 && H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG) >= 0)
        file = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, fapl);
    H5Pclose(fapl);
    return file;
}

static hid_t dataset_properties(void)
{
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    if (dcpl >= 0 &&
        (H5Pset_layout(dcpl, H5D_CONTIGUOUS) < 0 ||
         H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY) < 0 ||
         H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER) < 0 || H5Pset_obj_track_times(dcpl, 0) < 0)) {
        H5Pclose(dcpl);
        return H5I_INVALID_HID;
    }
    return dcpl;
}

static int fill_file(hid_t file, const char *path, const struct rk_layout *layout, uint32_t writers,
                     struct piece *piece, size_t count, const uint32_t *crc, struct rk_why *why)
{
    uint64_t of = writers;
    hid_t dcpl = dataset_properties();
    int rc = 0;

    if (dcpl < 0)
        return fail_hdf5(why, path, "preparing datasets");
    if (put_u64(file, "reknit_writers", &of, 1) != 0)
        rc = fail_hdf5(why, path, "writing an attribute");
    for (size_t i = 0; i < count && rc == 0; i++)
        if (make_dataset(file, dcpl, layout, &piece[i], crc) != 0)
            rc = fail_hdf5(why, path, "making a dataset");
    H5Pclose(dcpl);
    return rc;
}

int shard_layout(const char *path, const struct rk_layout *layout, uint32_t writers,
                 struct piece *piece, size_t count, const uint32_t *crc, struct rk_why *why)
{
    H5E_auto2_t print = NULL;
    void *print_data = NULL;
    hid_t file;
    int rc;

    H5Eget_auto2(H5E_DEFAULT, &print, &print_data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    file = create_file(path, count);
    if (file < 0) {
        rc = fail_hdf5(why, path, "making the file");
    } else {
        rc = fill_file(file, path, layout, writers, piece, count, crc, why);
        if (H5Fclose(file) < 0 && rc == 0)
            rc = fail_hdf5(why, path, "closing the file");
    }
    H5Eset_auto2(H5E_DEFAULT, print, print_data);
    return rc;
}
