// Limits of the process that whoever starts us has set for himself.
#pragma once

// Lets this process write files of any size, where it may; else what is beyond the limit fails with EFBIG and
// ends nobody. Once, before any thread is started.
void limit_lift_file_size(void);
