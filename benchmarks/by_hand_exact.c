/* by_hand_exact.c: the course's program in plain C with gradients by hand, as by_hand.c, but with every bit of the
 * pure-Python one: float64, the C library's exp, log and pow where Python calls them, each sum in the order in which
 * backward() adds it up (docs/design.md, "Exactness"). Loops whose sums are independent run side by side, so that the
 * compiler can make vectors of them. The fair peer of exact training; tests/test_by_hand.py compares the bits.
 *
 * Compiled with N_EMBD and BLOCK, and -ffp-contract=off -fno-builtin-pow; with -DFEW_POWERS, squares and roots ask pow
 * only where it might not give the nearest float. Four heads, one layer, squared relu, 27 tokens at most.
 */
#include <math.h>
#include <string.h>

enum { E = N_EMBD, B = BLOCK, HEADS = 4, D = E / HEADS, F = 4 * E, V = 27 };

typedef struct {
    double wte[V][E], wpe[B][E], lm_head[V][E], wq[E][E], wk[E][E], wv[E][E], wo[E][E], fc1[F][E], fc2[E][F];
} weights;

enum { COUNT = sizeof(weights) / sizeof(double) };

static weights w, g, m, v;
static double logit_scale; /* attention's logits are multiplied by it */
static double learning_rate;
static int taken; /* steps */

/* ---- blocks, forward beside reverse ------------------------------------------------------------------------------ */

/* Rows of the matrices as columns, so that the lanes of an output lie side by side. */
static struct {
    double lm_head[E][V], wq[E][E], wk[E][E], wv[E][E], wo[E][E], fc1[E][F], fc2[F][E];
} turned;

static void turn(int rows, int columns, const double *matrix, double *out) {
    for (int c = 0; c < columns; c++) {
        for (int i = 0; i < rows; i++) {
            out[c * rows + i] = matrix[i * columns + c];
        }
    }
}

/* out[i] is the sum of matrix[i][c] * x[c], c up from 0.0 */
static void linear(int rows, int columns, const double *restrict columns_first, const double *restrict x,
                   double *restrict out) {
    for (int i = 0; i < rows; i++) {
        out[i] = 0;
    }
    for (int c = 0; c < columns; c++) {
        for (int i = 0; i < rows; i++) {
            out[i] += columns_first[c * rows + i] * x[c];
        }
    }
}

/* One row: its weights get x[c] * d, its inputs matrix[i][c] * d. */
static void row_reverse(int columns, const double *restrict row, const double *restrict x, double d,
                        double *restrict d_row, double *restrict d_x) {
    for (int c = 0; c < columns; c++) {
        d_row[c] += x[c] * d;
        d_x[c] += row[c] * d;
    }
}

/* Rows down from `to` - 1 to `from`. */
static void rows_reverse(int from, int to, int columns, const double *matrix, const double *x, const double *d_out,
                         double *d_matrix, double *d_x) {
    for (int i = to; i-- > from;) {
        row_reverse(columns, matrix + i * columns, x, d_out[i], d_matrix + i * columns, d_x);
    }
}

/* Returns u, whose power -0.5 is the scale. */
static double rmsnorm(const double *x, double *out, double *scale) {
    double sum = 0;
    for (int c = 0; c < E; c++) {
        sum += x[c] * x[c];
    }
    const double u = sum * (1.0 / E) + 1e-5;
    *scale = pow(u, -0.5);
    for (int c = 0; c < E; c++) {
        out[c] = x[c] * *scale;
    }
    return u;
}

static void rmsnorm_reverse(const double *x, double u, double scale, const double *d_out, double *d_x) {
    double d_scale = 0;
    for (int c = E; c-- > 0;) {
        d_scale += x[c] * d_out[c];
    }
    const double d_sum = (1.0 / E) * ((-0.5 * pow(u, -1.5)) * d_scale);
    for (int c = 0; c < E; c++) {
        d_x[c] += scale * d_out[c];
        d_x[c] += x[c] * d_sum;
        d_x[c] += x[c] * d_sum;
    }
}

/* x becomes its exponentials, less the largest; returns their total. */
static double exponentials(int n, double *x) {
    double largest = x[0], total = 0;
    for (int i = 1; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (int i = 0; i < n; i++) {
        x[i] = exp(x[i] - largest);
        total += x[i];
    }
    return total;
}

/* Is y = a * a surely what pow(a, 2) is, or the root y of a what pow(a, 0.5) is? glibc's pow (2.28 and newer) gives the
   nearest float unless the true result is within 0.0145 units in the last place of the middle between two, for results
   from 2^-100 to 2^100. */
static double unit_of(double x) {
    long long bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7ff0000000000000;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p-52;
}

static int sure_square(double a, double y) {
    const double unit = unit_of(y), middle = fabs(fabs(fma(a, a, -y)) - 0.5 * unit);
    return ((y >= 0x1p-100) & (y <= 0x1p100) & (middle > 0.0145 * unit) & (y != unit * 0x1p52)) | (a == 0);
}

static int sure_root(double a, double y) {
    const double unit = unit_of(y), middle = fabs(fabs(fma(-y, y, a)) - y * unit);
    return ((a >= 0x1p-100) & (a <= 0x1p100) & (middle > 0.029 * (y * unit)) & (y != unit * 0x1p52)) | (a == 0);
}

#ifdef FEW_POWERS
enum { FEW = 1 };
#else
enum { FEW = 0 };
#endif

/* out[i] = x[i] ** 2 */
static void squares(int n, const double *restrict x, double *restrict out) {
    long long unsure[F];
    for (int i = 0; i < n; i++) {
        out[i] = x[i] * x[i];
        unsure[i] = !FEW || !sure_square(x[i], out[i]);
    }
    for (int i = 0; i < n; i++) {
        if (unsure[i]) {
            out[i] = pow(x[i], 2);
        }
    }
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* What forward keeps for reverse, for each position. In a weight's place stands its exponential. */
typedef struct {
    double x0[E], x1[E], normed[E], q[E], k[E], v[E], e[HEADS][B], total[HEADS], inverse[HEADS], mixed[E], x2[E],
        normed2[E], relu[F], hidden[F], x3[E], p[V], p_total, p_inverse, target;
    double u0, u1, u2, scale0, scale1, scale2, d_k[E], d_v[E];
} position;

static position at[B];

static void attention(int t) {
    position *a = &at[t];
    for (int h = 0; h < HEADS; h++) {
        for (int u = 0; u <= t; u++) {
            double sum = 0;
            for (int j = h * D; j < (h + 1) * D; j++) {
                sum += a->q[j] * at[u].k[j];
            }
            a->e[h][u] = sum * logit_scale;
        }
        a->total[h] = exponentials(t + 1, a->e[h]);
        a->inverse[h] = pow(a->total[h], -1);
        for (int j = h * D; j < (h + 1) * D; j++) {
            a->mixed[j] = 0;
        }
        for (int u = 0; u <= t; u++) {
            const double weight = a->e[h][u] * a->inverse[h];
            for (int j = h * D; j < (h + 1) * D; j++) {
                a->mixed[j] += weight * at[u].v[j];
            }
        }
    }
}

static double forward(const int *tokens, int n) {
    double sum = 0;
    turn(V, E, w.lm_head[0], turned.lm_head[0]);
    turn(E, E, w.wq[0], turned.wq[0]);
    turn(E, E, w.wk[0], turned.wk[0]);
    turn(E, E, w.wv[0], turned.wv[0]);
    turn(E, E, w.wo[0], turned.wo[0]);
    turn(F, E, w.fc1[0], turned.fc1[0]);
    turn(E, F, w.fc2[0], turned.fc2[0]);
    for (int t = 0; t < n; t++) {
        position *a = &at[t];
        for (int c = 0; c < E; c++) {
            a->x0[c] = w.wte[tokens[t]][c] + w.wpe[t][c];
        }
        a->u0 = rmsnorm(a->x0, a->x1, &a->scale0);
        a->u1 = rmsnorm(a->x1, a->normed, &a->scale1);
        linear(E, E, turned.wq[0], a->normed, a->q);
        linear(E, E, turned.wk[0], a->normed, a->k);
        linear(E, E, turned.wv[0], a->normed, a->v);
        attention(t);
        linear(E, E, turned.wo[0], a->mixed, a->x2);
        for (int c = 0; c < E; c++) {
            a->x2[c] += a->x1[c];
        }
        a->u2 = rmsnorm(a->x2, a->normed2, &a->scale2);
        linear(F, E, turned.fc1[0], a->normed2, a->relu);
        for (int c = 0; c < F; c++) {
            a->relu[c] = a->relu[c] > 0 ? a->relu[c] : 0;
        }
        squares(F, a->relu, a->hidden);
        linear(E, F, turned.fc2[0], a->hidden, a->x3);
        for (int c = 0; c < E; c++) {
            a->x3[c] += a->x2[c];
        }
        linear(V, E, turned.lm_head[0], a->x3, a->p);
        a->p_total = exponentials(V, a->p);
        a->p_inverse = pow(a->p_total, -1);
        a->target = a->p[tokens[t + 1]] * a->p_inverse;
        sum += -log(a->target);
    }
    return 1.0 / n * sum;
}

/* Heads down. Keys and values have by now what later positions give them. */
static void attention_reverse(int t, const double *d_mixed, double *d_normed) {
    position *a = &at[t];
    double d_q[E] = {0};
    for (int h = HEADS; h-- > 0;) {
        const double inverse = a->inverse[h], once = -1 * pow(a->total[h], -2);
        double d_weight[B] = {0}, d_total = 0;
        for (int u = 0; u <= t; u++) {
            const double weight = a->e[h][u] * inverse;
            for (int j = (h + 1) * D; j-- > h * D;) {
                d_weight[u] += at[u].v[j] * d_mixed[j];
                at[u].d_v[j] += weight * d_mixed[j];
            }
        }
        rows_reverse(h * D, (h + 1) * D, E, w.wv[0], a->normed, a->d_v, g.wv[0], d_normed);
        for (int u = t; u >= 0; u--) {
            d_total += once * (a->e[h][u] * d_weight[u]);
        }
        for (int u = t; u >= 0; u--) {
            const double d = logit_scale * (a->e[h][u] * (inverse * d_weight[u] + d_total));
            for (int j = h * D; j < (h + 1) * D; j++) {
                d_q[j] += at[u].k[j] * d;
                at[u].d_k[j] += a->q[j] * d;
            }
        }
        if (t > 0) {
            rows_reverse(h * D, (h + 1) * D, E, w.wk[0], a->normed, a->d_k, g.wk[0], d_normed);
            rows_reverse(h * D, (h + 1) * D, E, w.wq[0], a->normed, d_q, g.wq[0], d_normed);
            continue;
        }
        for (int i = (h + 1) * D; i-- > h * D;) { /* here queries and keys are first met, in pairs */
            row_reverse(E, w.wk[i], a->normed, a->d_k[i], g.wk[i], d_normed);
            row_reverse(E, w.wq[i], a->normed, d_q[i], g.wq[i], d_normed);
        }
    }
}

/* Positions down. */
static void reverse(const int *tokens, int n) {
    for (int t = 0; t < n; t++) {
        memset(at[t].d_k, 0, sizeof at[t].d_k);
        memset(at[t].d_v, 0, sizeof at[t].d_v);
    }
    for (int t = n - 1; t >= 0; t--) {
        position *a = &at[t];
        const int target = tokens[t + 1];
        double d_logit[V], d_x3[E] = {0}, d_hidden[F] = {0}, d_normed2[E] = {0}, d_mixed[E] = {0}, d_normed[E] = {0};
        double d_x2[E], d_x0[E] = {0};
        const double d_target = 1 / a->target * (-1 * (1.0 / n));
        const double d_total = (-1 * pow(a->p_total, -2)) * (a->p[target] * d_target);
        for (int i = 0; i < V; i++) {
            d_logit[i] = a->p[i] * (i == target ? a->p_inverse * d_target + d_total : d_total);
        }
        rows_reverse(target + 1, V, E, w.lm_head[0], a->x3, d_logit, g.lm_head[0], d_x3);
        rows_reverse(0, target, E, w.lm_head[0], a->x3, d_logit, g.lm_head[0], d_x3);
        row_reverse(E, w.lm_head[target], a->x3, d_logit[target], g.lm_head[target], d_x3);
        memcpy(d_x2, d_x3, sizeof d_x2);
        rows_reverse(0, E, F, w.fc2[0], a->hidden, d_x3, g.fc2[0], d_hidden);
        for (int c = 0; c < F; c++) {
            d_hidden[c] = (a->relu[c] > 0 ? 1.0 : 0.0) * ((2 * a->relu[c]) * d_hidden[c]);
        }
        rows_reverse(0, F, E, w.fc1[0], a->normed2, d_hidden, g.fc1[0], d_normed2);
        rmsnorm_reverse(a->x2, a->u2, a->scale2, d_normed2, d_x2);
        double d_x1[E];
        memcpy(d_x1, d_x2, sizeof d_x1);
        rows_reverse(0, E, E, w.wo[0], a->mixed, d_x2, g.wo[0], d_mixed);
        attention_reverse(t, d_mixed, d_normed);
        rmsnorm_reverse(a->x1, a->u1, a->scale1, d_normed, d_x1);
        rmsnorm_reverse(a->x0, a->u0, a->scale0, d_x1, d_x0);
        for (int c = 0; c < E; c++) {
            g.wte[tokens[t]][c] += d_x0[c];
            g.wpe[t][c] += d_x0[c];
        }
    }
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static void adam(int step, int steps) {
    double *p = (double *)&w, *grad = (double *)&g, *first = (double *)&m, *second = (double *)&v;
    const double correction1 = 1 - pow(0.9, step + 1), correction2 = 1 - pow(0.95, step + 1);
    const double rate = learning_rate * 0.5 * (1 + cos(3.141592653589793 * step / steps));
    for (int from = 0; from < COUNT; from += F) {
        const int n = COUNT - from < F ? COUNT - from : F;
        double square[F], v_hat[F], root[F];
        long long unsure[F];
        squares(n, grad + from, square);
        for (int i = 0; i < n; i++) {
            first[from + i] = 0.9 * first[from + i] + (1 - 0.9) * grad[from + i];
            second[from + i] = 0.95 * second[from + i] + (1 - 0.95) * square[i];
            v_hat[i] = second[from + i] / correction2;
            root[i] = sqrt(v_hat[i]);
            unsure[i] = !FEW || !sure_root(v_hat[i], root[i]);
            grad[from + i] = 0;
        }
        for (int i = 0; i < n; i++) {
            if (unsure[i]) {
                root[i] = pow(v_hat[i], 0.5);
            }
        }
        for (int i = 0; i < n; i++) {
            p[from + i] -= rate * (first[from + i] / correction1) / (root[i] + 1e-8);
        }
    }
}

/* Begins anew, with these parameters. */
void begin(const double *parameters, double rate) {
    memcpy(&w, parameters, sizeof w);
    memset(&g, 0, sizeof g);
    memset(&m, 0, sizeof m);
    memset(&v, 0, sizeof v);
    logit_scale = pow(pow(D, 0.5), -1);
    learning_rate = rate;
    taken = 0;
}

/* Takes `steps` more steps of a run of `total`, on documents[starts[d]] .. documents[starts[d + 1] - 1]. */
void train(const int *tokens, const int *starts, int documents, int steps, int total, double *losses) {
    for (int s = 0; s < steps; s++, taken++) {
        const int d = taken % documents, length = starts[d + 1] - starts[d] - 1;
        const int n = length < B ? length : B;
        losses[s] = forward(tokens + starts[d], n);
        reverse(tokens + starts[d], n);
        adam(taken, total);
    }
}

void parameters(double *out) { memcpy(out, &w, sizeof w); }
