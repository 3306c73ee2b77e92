// What a guest has made durable is there after a power cut, under its name.
//
// A break gives the name a new file, and the disk learns that later. ext4's fdatasync(2) does not bring it
// there: it commits the journal up to the last change of the file's size or blocks alone (i_datasync_tid,
// ext4_fsync_journal()). A guest that writes in place, as into any old file of its own, would find the old
// content again. So what breaks have published is committed before the guest can rely on that.
#pragma once

#include <stdbool.h>

struct hashfs;

// A break has given a name its new file.
void sync_published(struct hashfs *fs);

// Has all that breaks have published until now on the disk, unless it is there, or comes along with the data.
int sync_names(struct hashfs *fs);

// Has what @fd has open on the disk: its content alone, if @content_alone, and all that is needed to find it.
int sync_file(struct hashfs *fs, int fd, bool content_alone);
