/* plain.h: the statements of a program one by one, where there is no plan, and to make one. */
#ifndef MG_PLAIN_H
#define MG_PLAIN_H

#include "programs/program.h"

/* Which statement of the program holds a slot; statements.count when none does. */
size_t mg_program_statement(const mg_program *program, mg_slot slot);
/* The order of the sweep for n losses, in program->order. */
mg_status mg_program_order(mg_program *program, size_t n);
/* All statements that the first n losses need, one by one, and down their lanes. */
mg_status mg_compute_plainly(mg_program *program, size_t n);
mg_status mg_sweep_plainly(mg_program *program, size_t n);
/* The result of the first n losses. */
double mg_result_of(const mg_program *program, size_t n);
/* Lets statements outside the program know that its lanes were computed anew. */
void mg_program_stamp(const mg_program *program);

#endif
