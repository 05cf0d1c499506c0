/* inputs.h: integer inputs of a program: what they select, and exchanging it. */
#ifndef MG_INPUTS_H
#define MG_INPUTS_H

#include "programs/program.h"

/* May the program run now? Looks where the tables of the inputs are. */
mg_status mg_program_find_inputs(mg_program *program);
bool mg_program_in_range(const mg_program *program, const int32_t *values, size_t n);
/* Exchanges operands; the values have been checked. */
void mg_program_select(mg_program *program, const int32_t *values);
/* The first slot that an operand with a binding reads, and another in its place. */
mg_slot mg_selected_now(const mg_tape *tape, const mg_binding *binding);
void mg_exchange(mg_program *program, const mg_binding *binding, mg_slot selected);
/* How many losses a text of so many tokens has: those that read no other inputs. 0: none. */
size_t mg_program_losses_of(const mg_program *program, size_t tokens);

#endif
