/* row.h: one row of the table of kernels. Included once for each kind of processor and of number, with
 *
 *     ROW         the row's name
 *     REAL, BITS  double and int64_t, or float and int32_t
 *     WIDTH       numbers in a vector, at most a chunk
 *     TILE_WIDTH  and in one where several chunks come together: WIDTH, or twice as many
 *     FOR_ROW     the attributes that tell the compiler of the processor
 *     EXACT       1: the bits of Python's arithmetic. 0: the fast mode
 *     FUSED(sum, a, b)  sum + a * b of vectors, FUSED_ONE of numbers: with one rounding in the fast mode, where the
 *                 processor can. Every sum of products that two functions compute is made of these
 *     FUSED_WIDE  of vectors of TILE_WIDTH, where that is more than WIDTH
 *     POW_IS_NEAR 1: pow is called only where its result may differ from the correctly rounded one
 *     POW, LOG, EXP, SQRT  of the C library, for REAL
 *
 * and its parts: row_products.h, sums of products, which is all matrix work, and row_tiles.h, its inner loops;
 * row_powers.h, what pow gives; row_exp.h, what exp gives; row_fading.h, moments that fade; row_optimizer.h, the
 * optimizers; row_gradients.h, sums of gradients; row_rows.h, a plan's step at work; row_maps.h, row_linears.h,
 * row_attention.h and row_sums.h, what every kind of step computes, forward beside reverse; row_leaves.h, the additions to leaves; row_plan.h, all steps;
 * row_sample.h, one position.
 */
#define JOIN_(name, row) name##_##row
#define JOIN(name, row) JOIN_(name, row)
#define TEXT_(row) #row
#define TEXT(row) TEXT_(row)
#define NAME(name) JOIN(name, ROW)

#define VECTORS (MG_CHUNK / WIDTH)
#define BLOCK 64          /* numbers that adam and the squares judge together, a bit of a word for each */
#define PART (8 * BLOCK)  /* and whose calls of pow they make together */
#define FEW (BLOCK / 8)   /* of which so many may need pow before they are judged again */

/* A vector, and one somewhere in memory. */
typedef REAL NAME(vector) __attribute__((vector_size(WIDTH * sizeof(REAL))));
typedef BITS NAME(bits) __attribute__((vector_size(WIDTH * sizeof(REAL))));
typedef REAL NAME(stored) __attribute__((vector_size(WIDTH * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define VECTOR NAME(vector)
#define LOAD(p) ((VECTOR)*(const NAME(stored) *)(p))
#define STORE(p, x) (*(NAME(stored) *)(p) = (NAME(stored))(x))
#define CHOOSE(mask, a, b) ((VECTOR)(((NAME(bits))(a) & (mask)) | ((NAME(bits))(b) & ~(mask))))
#define EVERYWHERE(number) ((number) - (VECTOR){0}) /* also of -0 */

/* The lower, and the upper, halves of two vectors, in turn. */
#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (NAME(bits)){__VA_ARGS__})
#endif
#if WIDTH == 8
#define ZIP_LOW(a, b) PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif WIDTH == 4
#define ZIP_LOW(a, b) PICK(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) PICK(a, b, 2, 6, 3, 7)
#else
#define ZIP_LOW(a, b) PICK(a, b, 0, 2)
#define ZIP_HIGH(a, b) PICK(a, b, 1, 3)
#endif

#include "kernels/row_products.h"

#include "kernels/row_powers.h"

#include "kernels/row_exp.h"

#include "kernels/row_fading.h"
#include "kernels/row_optimizer.h"

#include "kernels/row_gradients.h"

#include "kernels/row_rows.h"

#include "kernels/row_maps.h"

#include "kernels/row_linears.h"

#include "kernels/row_attention.h"

#include "kernels/row_sums.h"

#include "kernels/row_leaves.h"

#include "kernels/row_plan.h"

#if EXACT
#include "kernels/row_sample.h"
#endif

static const mg_kernels NAME(row) = {
    .name = TEXT(ROW),
    .size = sizeof(REAL),
    .update = NAME(update),
    .largest = NAME(largest),
    .squares = NAME(squares_in_place),
    .add = NAME(add),
    .add_gradients = NAME(add_gradients),
    .scale = NAME(scale),
    .from_double = NAME(from_double),
    .to_double = NAME(to_double),
    .forward = NAME(forward),
    .reverse = NAME(reverse),
    .add_to_leaves = NAME(add_to_leaves),
#if EXACT
    .position = NAME(position),
#endif
};

#undef VECTORS
#undef MOST_VECTORS
#undef BLOCK
#undef PART
#undef FEW
#undef SURE_SQUARE
#undef SIZE_OF_BITS
#undef VECTOR
#undef LOAD
#undef PICK
#undef ZIP_LOW
#undef ZIP_HIGH
#undef STORE
#undef EVERYWHERE
#undef CHOOSE
#undef JOIN_
#undef JOIN
#undef TEXT_
#undef TEXT
#undef NAME
#undef ROW
#undef WIDTH
#undef TILE_WIDTH
#undef FOR_ROW
