/* Quantities of Kubernetes; see quantity.h. */
#include "k8s/render/quantity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NANO ((__int128)1000000000)
#define MOST (((__int128)1 << 63) * NANO - NANO) /* 2^63 - 1 */
#define MOST_EXPONENT 40

/* Both families, from billionths or from one, each a factor of its base apart. */
static const char *const decimal_suffix[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
static const char *const binary_suffix[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
#define DECIMALS (sizeof decimal_suffix / sizeof decimal_suffix[0])
#define BINARIES (sizeof binary_suffix / sizeof binary_suffix[0])

/* What a suffix says: value * base^power * 10^exponent. */
struct scale {
    bool binary;
    unsigned power;
    int exponent;
};

static bool parse_exponent(const char *text, int *exponent)
{
    int sign = 1;
    int value = 0;

    if (*text == '+' || *text == '-')
        sign = *text++ == '-' ? -1 : 1;
    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++)
        if ((value = value * 10 + (*text - '0')) > MOST_EXPONENT)
            return false;
    *exponent = sign * value;
    return *text == '\0';
}

static bool parse_suffix(const char *text, struct scale *scale)
{
    *scale = (struct scale){false, 0, 0};
    for (unsigned i = 0; i < DECIMALS; i++)
        if (strcmp(text, decimal_suffix[i]) == 0) {
            scale->exponent = 3 * (int)i - 9;
            return true;
        }
    for (unsigned i = 1; i < BINARIES; i++)
        if (strcmp(text, binary_suffix[i]) == 0) {
            *scale = (struct scale){true, i, 0};
            return true;
        }
    return (*text == 'e' || *text == 'E') && parse_exponent(text + 1, &scale->exponent);
}

/* Digits with at most one point among them; *places says how many stand behind it. */
static const char *parse_digits(const char *text, __int128 *value, int *places, bool *fits)
{
    bool any = false;
    bool point = false;

    *value = 0;
    *places = 0;
    *fits = true;
    for (; isdigit((unsigned char)*text) || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        any = true;
        *fits = *fits && !__builtin_mul_overflow(*value, 10, value) &&
                !__builtin_add_overflow(*value, *text - '0', value);
        *places += point ? 1 : 0;
    }
    return any ? text : NULL;
}

/* value * base^power; false: does not fit. */
static bool raise(__int128 *value, int base, unsigned power)
{
    for (; power > 0; power--)
        if (__builtin_mul_overflow(*value, base, value))
            return false;
    return true;
}

/* Divides by 10^power, away from zero where something is left over. */
static void lower(__int128 *value, unsigned power)
{
    bool rest = false;

    for (; power > 0; power--) {
        rest = rest || *value % 10 != 0;
        *value /= 10;
    }
    *value += rest ? 1 : 0;
}

static int parse_text(const char *text, struct quantity *quantity, struct rk_why *why)
{
    bool negative = *text == '-';
    struct scale scale;
    int places;
    bool fits;
    const char *rest = parse_digits(text + (*text == '-' || *text == '+' ? 1 : 0), &quantity->nano,
                                    &places, &fits);

    if (rest == NULL || !parse_suffix(rest, &scale))
        return rk_fail(why, RK_EDATA,
                       "'%.40s' is no quantity; write a number as 2, 0.5, 500m, 4Gi or 2e3", text);
    for (; fits && places > 0 && quantity->nano % 10 == 0; places--)
        quantity->nano /= 10;
    scale.exponent += 9 - places;
    fits = fits && raise(&quantity->nano, 1024, scale.power) &&
           (scale.exponent < 0 || raise(&quantity->nano, 10, (unsigned)scale.exponent));
    if (fits && scale.exponent < 0)
        lower(&quantity->nano, (unsigned)-scale.exponent);
    if (!fits || quantity->nano > MOST)
        return rk_fail(why, RK_EDATA, "'%.40s' is larger than 2^63 - 1, the largest quantity",
                       text);
    quantity->nano = negative ? -quantity->nano : quantity->nano;
    quantity->binary = scale.binary;
    return 0;
}

int quantity_parse(const json_t *value, struct quantity *quantity, struct rk_why *why)
{
    char text[64];

    if (json_is_string(value))
        return parse_text(json_string_value(value), quantity, why);
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, sizeof text, "%.15g", json_real_value(value));
    else
        return rk_fail(why, RK_EDATA, "a quantity must be a number, or a text as 500m or 4Gi");
    return parse_text(text, quantity, why);
}

int quantity_add(struct quantity *sum, const struct quantity *quantity, uint32_t times,
                 struct rk_why *why)
{
    __int128 product;
    __int128 total;

    if (__builtin_mul_overflow(quantity->nano, times, &product) ||
        __builtin_add_overflow(sum->nano, product, &total) || total > MOST || total < -MOST)
        return rk_fail(why, RK_EDATA, "the sum is larger than 2^63 - 1, the largest quantity");
    if (sum->nano == 0)
        sum->binary = quantity->binary;
    sum->nano = total;
    return 0;
}

/* Prints value / unit with the largest suffix, of those that remain, that leaves a whole number. */
static void print_scaled(__int128 value, int base, const char *const *suffix, size_t count,
                         char text[QUANTITY_TEXT])
{
    size_t at = 0;

    while (at + 1 < count && value % base == 0) {
        value /= base;
        at++;
    }
    if (value <= INT64_MAX && value >= -INT64_MAX)
        snprintf(text, QUANTITY_TEXT, "%lld%s", (long long)value, suffix[at]);
    else
        snprintf(text, QUANTITY_TEXT, "%lld%09lld%s", (long long)(value / NANO),
                 (long long)(value < 0 ? -(value % NANO) : value % NANO), suffix[at]);
}

const char *quantity_print(const struct quantity *quantity, char text[QUANTITY_TEXT])
{
    __int128 whole = quantity->nano / NANO;

    if (quantity->nano == 0)
        snprintf(text, QUANTITY_TEXT, "0");
    else if (quantity->binary && quantity->nano % NANO == 0 && (whole >= 1024 || whole <= -1024))
        print_scaled(whole, 1024, binary_suffix, BINARIES, text);
    else
        print_scaled(quantity->nano, 1000, decimal_suffix, DECIMALS, text);
    return text;
}
