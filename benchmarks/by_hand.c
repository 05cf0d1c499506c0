/* by_hand.c: the course's program as a programmer would write it in plain C: gradients by hand, plain loops, sums in
 * the compiler's order. A peer for the benchmarks, which compile it for this processor; it is not exact, and not tested.
 *
 * Compiled with N_EMBD, BLOCK and REAL. Four heads, one layer, squared relu, 27 tokens at most.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { E = N_EMBD, B = BLOCK, HEADS = 4, D = E / HEADS, F = 4 * E, V = 27 };

typedef struct {
    REAL wte[V][E], wpe[B][E], lm_head[V][E], wq[E][E], wk[E][E], wv[E][E], wo[E][E], fc1[F][E], fc2[E][F];
} weights;

enum { COUNT = sizeof(weights) / sizeof(REAL) };

static weights w, g, m, v;

static void linear(int rows, int columns, const REAL *matrix, const REAL *x, REAL *out) {
    for (int i = 0; i < rows; i++) {
        REAL sum = 0;
        for (int c = 0; c < columns; c++) {
            sum += matrix[i * columns + c] * x[c];
        }
        out[i] = sum;
    }
}

static void linear_reverse(int rows, int columns, const REAL *matrix, const REAL *x, const REAL *d_out, REAL *d_matrix,
                           REAL *d_x) {
    for (int i = 0; i < rows; i++) {
        for (int c = 0; c < columns; c++) {
            d_matrix[i * columns + c] += x[c] * d_out[i];
            d_x[c] += matrix[i * columns + c] * d_out[i];
        }
    }
}

static REAL rmsnorm(const REAL *x, REAL *out) {
    REAL sum = 0;
    for (int c = 0; c < E; c++) {
        sum += x[c] * x[c];
    }
    REAL scale = 1 / (REAL)sqrt(sum / E + (REAL)1e-5);
    for (int c = 0; c < E; c++) {
        out[c] = x[c] * scale;
    }
    return scale;
}

static void rmsnorm_reverse(const REAL *x, REAL scale, const REAL *d_out, REAL *d_x) {
    REAL sum = 0;
    for (int c = 0; c < E; c++) {
        sum += d_out[c] * x[c];
    }
    REAL share = sum * scale * scale * scale / E;
    for (int c = 0; c < E; c++) {
        d_x[c] += d_out[c] * scale - x[c] * share;
    }
}

static void softmax(int n, REAL *x) {
    REAL largest = x[0], total = 0;
    for (int i = 1; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (int i = 0; i < n; i++) {
        x[i] = (REAL)exp(x[i] - largest);
        total += x[i];
    }
    for (int i = 0; i < n; i++) {
        x[i] /= total;
    }
}

/* What forward keeps for reverse, for each position. */
typedef struct {
    REAL x0[E], x1[E], normed[E], q[E], k[E], v[E], weight[HEADS][B], mixed[E], x2[E], normed2[E], fc1[F], hidden[F],
        x3[E], p[V], d_k[E], d_v[E], scale0, scale1, scale2;
} position;

static position at[B];

static REAL forward(const int *tokens, int n) {
    REAL loss = 0;
    for (int t = 0; t < n; t++) {
        position *a = &at[t];
        for (int c = 0; c < E; c++) {
            a->x0[c] = w.wte[tokens[t]][c] + w.wpe[t][c];
        }
        a->scale0 = rmsnorm(a->x0, a->x1);
        a->scale1 = rmsnorm(a->x1, a->normed);
        linear(E, E, w.wq[0], a->normed, a->q);
        linear(E, E, w.wk[0], a->normed, a->k);
        linear(E, E, w.wv[0], a->normed, a->v);
        for (int h = 0; h < HEADS; h++) {
            for (int u = 0; u <= t; u++) {
                REAL sum = 0;
                for (int j = h * D; j < (h + 1) * D; j++) {
                    sum += a->q[j] * at[u].k[j];
                }
                a->weight[h][u] = sum / (REAL)sqrt(D);
            }
            softmax(t + 1, a->weight[h]);
            for (int j = h * D; j < (h + 1) * D; j++) {
                REAL sum = 0;
                for (int u = 0; u <= t; u++) {
                    sum += a->weight[h][u] * at[u].v[j];
                }
                a->mixed[j] = sum;
            }
        }
        linear(E, E, w.wo[0], a->mixed, a->x2);
        for (int c = 0; c < E; c++) {
            a->x2[c] += a->x1[c];
        }
        a->scale2 = rmsnorm(a->x2, a->normed2);
        linear(F, E, w.fc1[0], a->normed2, a->fc1);
        for (int c = 0; c < F; c++) {
            REAL r = a->fc1[c] > 0 ? a->fc1[c] : 0;
            a->hidden[c] = r * r;
        }
        linear(E, F, w.fc2[0], a->hidden, a->x3);
        for (int c = 0; c < E; c++) {
            a->x3[c] += a->x2[c];
        }
        linear(V, E, w.lm_head[0], a->x3, a->p);
        softmax(V, a->p);
        loss -= (REAL)log(a->p[tokens[t + 1]]);
    }
    return loss / n;
}

static void attention_reverse(int t, const REAL *d_mixed, REAL *d_q) {
    position *a = &at[t];
    for (int h = 0; h < HEADS; h++) {
        REAL d_weight[B], total = 0;
        for (int u = 0; u <= t; u++) {
            REAL sum = 0;
            for (int j = h * D; j < (h + 1) * D; j++) {
                sum += d_mixed[j] * at[u].v[j];
                at[u].d_v[j] += a->weight[h][u] * d_mixed[j];
            }
            d_weight[u] = sum;
            total += sum * a->weight[h][u];
        }
        for (int u = 0; u <= t; u++) {
            REAL d = a->weight[h][u] * (d_weight[u] - total) / (REAL)sqrt(D);
            for (int j = h * D; j < (h + 1) * D; j++) {
                d_q[j] += d * at[u].k[j];
                at[u].d_k[j] += d * a->q[j];
            }
        }
    }
}

static void reverse(const int *tokens, int n) {
    for (int t = 0; t < n; t++) {
        memset(at[t].d_k, 0, sizeof at[t].d_k);
        memset(at[t].d_v, 0, sizeof at[t].d_v);
    }
    for (int t = n - 1; t >= 0; t--) {
        position *a = &at[t];
        REAL d_logits[V], d_x3[E] = {0}, d_fc1[F] = {0}, d_normed2[E] = {0}, d_mixed[E] = {0}, d_q[E] = {0};
        REAL d_normed[E] = {0}, d_x1[E], d_x0[E] = {0};
        for (int i = 0; i < V; i++) {
            d_logits[i] = (a->p[i] - (i == tokens[t + 1])) / n;
        }
        linear_reverse(V, E, w.lm_head[0], a->x3, d_logits, g.lm_head[0], d_x3);
        linear_reverse(E, F, w.fc2[0], a->hidden, d_x3, g.fc2[0], d_fc1);
        for (int c = 0; c < F; c++) {
            d_fc1[c] *= a->fc1[c] > 0 ? 2 * a->fc1[c] : 0;
        }
        linear_reverse(F, E, w.fc1[0], a->normed2, d_fc1, g.fc1[0], d_normed2);
        rmsnorm_reverse(a->x2, a->scale2, d_normed2, d_x3);
        linear_reverse(E, E, w.wo[0], a->mixed, d_x3, g.wo[0], d_mixed);
        attention_reverse(t, d_mixed, d_q);
        linear_reverse(E, E, w.wq[0], a->normed, d_q, g.wq[0], d_normed);
        linear_reverse(E, E, w.wk[0], a->normed, a->d_k, g.wk[0], d_normed);
        linear_reverse(E, E, w.wv[0], a->normed, a->d_v, g.wv[0], d_normed);
        memcpy(d_x1, d_x3, sizeof d_x1);
        rmsnorm_reverse(a->x1, a->scale1, d_normed, d_x1);
        rmsnorm_reverse(a->x0, a->scale0, d_x1, d_x0);
        for (int c = 0; c < E; c++) {
            g.wte[tokens[t]][c] += d_x0[c];
            g.wpe[t][c] += d_x0[c];
        }
    }
}

static void adam(int step, int steps) {
    REAL *p = (REAL *)&w, *grad = (REAL *)&g, *first = (REAL *)&m, *second = (REAL *)&v;
    REAL correction1 = 1 - (REAL)pow(0.9, step + 1), correction2 = 1 - (REAL)pow(0.95, step + 1);
    REAL rate = (REAL)(0.01 * 0.5 * (1 + cos(3.141592653589793 * step / steps)));
    for (int i = 0; i < COUNT; i++) {
        first[i] = (REAL)0.9 * first[i] + (1 - (REAL)0.9) * grad[i];
        second[i] = (REAL)0.95 * second[i] + (1 - (REAL)0.95) * grad[i] * grad[i];
        p[i] -= rate * (first[i] / correction1) / ((REAL)sqrt(second[i] / correction2) + (REAL)1e-8);
        grad[i] = 0;
    }
}

/* Takes steps on documents[starts[d]] .. documents[starts[d + 1] - 1], from small random weights; the last loss. */
double train(const int *tokens, const int *starts, int documents, int steps) {
    REAL *p = (REAL *)&w;
    srand(1);
    for (int i = 0; i < COUNT; i++) {
        p[i] = ((REAL)rand() / (REAL)RAND_MAX - (REAL)0.5) * (REAL)0.07;
    }
    memset(&m, 0, sizeof m);
    memset(&v, 0, sizeof v);
    REAL loss = 0;
    for (int step = 0; step < steps; step++) {
        const int d = step % documents, length = starts[d + 1] - starts[d] - 1;
        const int n = length < B ? length : B;
        loss = forward(tokens + starts[d], n);
        reverse(tokens + starts[d], n);
        adam(step, steps);
    }
    return (double)loss;
}
