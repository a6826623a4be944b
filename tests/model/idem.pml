/*
 * The idempotency protocol, for SPIN: ONE client key; TRIES attempts of a client
 * at any weirs, each of which may crash or pause at any step; two processors; a
 * network that loses and reorders; a store with a master and one replica that
 * lags, and at most one failover that loses what the replica had not seen. A
 * lease may be over at any moment, so that nothing can lean on it.
 *
 * Checked: never more than one execution, over both processors.
 *
 * What is modelled of the code: idem_apply (begin, complete, mark, abandon,
 * lapse, resolve, rebind) and idem_step, with the ambiguity that its owner
 * remembers.
 * Not modelled: two masters at once (here: the minority's suffix is lost), the
 * end of a processor's memory, fingerprints, a second failover.
 *
 * Every try may send SENDS times: a second time to the same processor under the
 * same key, where that de-duplicates, which the store is not asked about. A late
 * answer after a mark is no other case than one that comes after the sweep found
 * the lease over.
 *
 * The embedded store is the master that has not synced yet and the replica that
 * is the disk; its crash is the failover. That owners live on then makes the
 * model the harder one.
 *
 * run.sh has the configurations: what must hold, and what must be violated, or
 * the model could not see the mistake.
 */

/* ---- the configuration ---- */

#ifndef TRIES
#define TRIES 3
#endif
#ifndef SENDS
#define SENDS 1
#endif
/* Whether processors A and B execute one upstream key once. */
#ifndef DEDUP_A
#define DEDUP_A 1
#endif
#ifndef DEDUP_B
#define DEDUP_B 1
#endif
/* 1: another processor may be chosen while nothing was sent (mode failover); 0: always A (sticky, single_shot). */
#ifndef FAILOVER
#define FAILOVER 0
#endif
/*
 * How a key comes to another processor. 0: its owner binds the record in one step, also after a refusal, and sends when
 * the replica has it; more than weir does. 1: as weir does it (mode failover): the store is asked while no byte was sent,
 * once in a try; it does so when it does, perhaps twice, perhaps when nobody waits any more, and only what it has
 * acknowledged is followed.
 */
#ifndef REBIND
#define REBIND 0
#endif
/* Before the first byte, the replica must have the begin: 0 never, 1 always, 2 where the processor is not A. */
#ifndef ACKED
#define ACKED 0
#endif
/* 1: the store may fail over, once, to the replica. */
#ifndef LOSS
#define LOSS 1
#endif
/* 1: after a failover of the store, new keys go to A alone. */
#ifndef QUARANTINE
#define QUARANTINE 0
#endif
/* 1: records that are done may vanish (eviction); 2: unknown ones (kept for too short a time, or freed by an operator
 * who was wrong). */
#ifndef VANISH
#define VANISH 0
#endif
/* 1: answers are not kept, and are asked for again under a record that is done. */
#ifndef RECEIPT
#define RECEIPT 0
#endif
/* 1: begin may have no reply and the request goes on (store_down: pass). */
#ifndef PASS
#define PASS 0
#endif
/* 1: an operator resolves what is unknown, and is right. */
#ifndef OPERATOR
#define OPERATOR 0
#endif

/* ---- the record, and the copy that the replica has of it ---- */

#define ABSENT 0
#define IN_FLIGHT 1
#define UNKNOWN 2
#define DONE 3

byte st, own, pr;   /* state, owner (0: none), processor */
bit amb;            /* an earlier attempt may have been executed */
byte r_st, r_own, r_pr;
bit r_amb;
bit failed_over;

/* ---- the world ---- */

byte executed[2];        /* at each processor */
byte net[8];             /* one place for each send: 0 none, 1 on its way to A, 2 to B */
byte heard[TRIES + 1];   /* by each try: 0 nothing, 1 the definite answer, 2 that it was not executed, 3: it listens no more */
byte alive;              /* tries that may yet send; for an operator who is right */
#if REBIND
byte asked[TRIES + 1];   /* by each try, of the store: 1 to be bound to A, 2 to B; a letter that may come again */
#endif

#define DEDUP(p) ((p == 0 && DEDUP_A) || (p == 1 && DEDUP_B))
#define ON_ITS_WAY (net[0] + net[1] + net[2] + net[3] + net[4] + net[5] + net[6] + net[7])

/* What an owner takes for ambiguous. Its own memory counts: the store's may have been lost. */
#ifdef MUTANT_MEMORY_IN_RECORD
#define AMBIGUOUS amb
#else
#define AMBIGUOUS (amb || mine)
#endif

/* ---- one attempt of the client ---- */

proctype Try(byte id)
{
    byte p;      /* the processor that it goes to */
    byte sent;   /* how often */
    bit mine;    /* in its memory: an attempt of mine is ambiguous, or I took over */
    bit receipt; /* sends again for an answer that was not kept; writes nothing but that */
#if REBIND
#ifdef MUTANT_REBIND_TWICE
    bit moved_before;
#endif
    bit moved;   /* it asked to be bound to the other processor */
#endif

    /* begin */
    atomic {
        alive++;
        if
        :: st == ABSENT ->
            if
            :: p = 0
            :: FAILOVER && !(QUARANTINE && failed_over) -> p = 1
            fi;
            st = IN_FLIGHT; own = id; pr = p; amb = 0;
            goto granted
        :: st == DONE -> goto over          /* replayed */
#if RECEIPT
#ifdef MUTANT_RECEIPT
        :: st == DONE ->
#else
        :: st == DONE && DEDUP(pr) ->
#endif
            p = pr; receipt = 1; mine = 1;
            goto send
#endif
#if PASS
#ifdef MUTANT_PASS
        :: true ->
#else
        :: DEDUP(0) ->
#endif
            p = 0;
            goto send
#endif
        :: st == IN_FLIGHT || st == UNKNOWN -> goto over   /* busy, stuck */
        :: st == IN_FLIGHT || st == UNKNOWN ->             /* nobody's, or its lease is over */
#ifdef MUTANT_LEASE_OVER_IS_NEW
            if
            :: p = 0
            :: FAILOVER -> p = 1
            fi;
            st = IN_FLIGHT; own = id; pr = p; amb = 0;
            goto granted
#else
            if
            :: DEDUP(pr) ->
#ifdef MUTANT_UNPINNED
                if
                :: p = pr
                :: FAILOVER -> p = 1 - pr
                fi;
                pr = p;
#else
                p = pr;
#endif
                st = IN_FLIGHT; own = id;
#ifdef MUTANT_TAKEOVER_UNSENT
                amb = 0; mine = 0;
#else
                amb = 1; mine = 1;
#endif
                goto granted
            :: else ->
                st = UNKNOWN; amb = 1;
                goto over
            fi
#endif
        fi
    }

granted:
    if
    :: ACKED == 0 || (ACKED == 2 && p == 0) -> skip
    :: (ACKED == 1 || (ACKED == 2 && p == 1)) && r_st == st && r_own == id && r_pr == p && own == id -> skip
    :: ACKED != 0 -> goto not_executed /* not acknowledged in time: nothing is sent */
    :: goto over                       /* crash */
    fi;

send:
    if
#if REBIND
    :: goto unsent       /* no connection: no byte left */
#else
    :: goto not_executed
#endif
    :: goto over         /* crash */
    :: atomic { heard[id] = 0; net[(id - 1) * SENDS + sent] = p + 1; sent++ }
    fi;

    /* the answer */
    if
    :: heard[id] == 1 -> goto complete
    :: heard[id] == 2 -> goto not_executed
    :: goto ambiguous    /* time-out, reset, a status that proves nothing */
    :: goto over         /* crash */
    fi;

#if REBIND
unsent:
    if
#ifdef MUTANT_REBIND_AMBIGUOUS
    :: atomic { !moved && sent == 0 -> moved = 1; asked[id] = asked[id] | (2 - p); goto rebinding }
#else
    :: atomic { !moved && sent == 0 && !mine -> moved = 1; asked[id] = asked[id] | (2 - p); goto rebinding }
#endif
#ifdef MUTANT_REBIND_TWICE
    :: atomic { moved && !moved_before && sent == 0 && !mine -> moved_before = 1; asked[id] = asked[id] | (2 - p); goto rebinding }
#endif
    :: goto not_executed
    fi;

rebinding:
    if
#ifdef MUTANT_REBIND_NOT_AWAITED
    :: p = 1 - p; goto send
#endif
#ifdef MUTANT_REBIND_IN_MEMORY
    :: atomic { st == IN_FLIGHT && own == id && pr == 1 - p -> p = 1 - p; goto send }
#else
    :: atomic { st == IN_FLIGHT && own == id && pr == 1 - p && r_st == st && r_own == id && r_pr == pr -> p = 1 - p; goto send }
#endif
    :: goto not_executed /* no reply in time */
    :: goto over         /* crash; or not its any more, or ambiguous: nothing is sent */
    fi;
#endif

not_executed:
    atomic {
        if
        :: receipt -> goto over
#ifdef MUTANT_ANY_OWNER
        :: st == IN_FLIGHT || st == UNKNOWN -> st = ABSENT; own = 0; amb = 0; goto over
#endif
#ifdef MUTANT_REFUSAL_CLEARS
        :: own == id && st == IN_FLIGHT -> st = ABSENT; own = 0; amb = 0; goto over
#endif
        :: own == id && st == IN_FLIGHT && !AMBIGUOUS -> st = ABSENT; own = 0; goto over /* abandon */
#if !REBIND
        :: own == id && st == IN_FLIGHT && !AMBIGUOUS && FAILOVER && sent < SENDS && !(QUARANTINE && failed_over) ->
            p = 1 - p; pr = p; /* bound anew */
            goto granted
#endif
#ifndef MUTANT_MEMORY_IN_RECORD
        :: !receipt && mine -> goto mark
#else
        :: own == id && st == IN_FLIGHT && amb -> goto mark
#endif
        :: else -> goto over
        fi
    }

ambiguous:
    atomic {
        if
        :: receipt -> goto over
#ifdef MUTANT_FAILOVER_AFTER_TIMEOUT
        :: own == id && st == IN_FLIGHT && FAILOVER && sent < SENDS -> p = 1 - p; pr = p; goto granted
#endif
#ifdef MUTANT_TIMEOUT_FREES
        :: own == id && st == IN_FLIGHT -> st = ABSENT; own = 0; amb = 0; goto over
#endif
        :: !receipt -> mine = 1; goto mark
#ifdef MUTANT_REBIND_SENT
        :: !moved && !mine && sent < SENDS -> moved = 1; asked[id] = asked[id] | (2 - p); goto rebinding
#endif
        /* The same once more, to the same. */
#if defined(MUTANT_MEMORY_IN_RECORD)
        :: own == id && st == IN_FLIGHT && DEDUP(p) && sent < SENDS -> amb = 1; goto send
#elif defined(MUTANT_AGAIN_FORGETS)
        :: DEDUP(p) && sent < SENDS -> goto send
#elif defined(MUTANT_AGAIN_NO_DEDUP)
        :: sent < SENDS -> mine = 1; goto send
#else
        :: DEDUP(p) && sent < SENDS -> mine = 1; goto send
#endif
        fi
    }

mark:
    atomic {
        if
        :: st == ABSENT -> st = UNKNOWN; own = id; pr = p; amb = 1 /* the store had lost it */
        :: st == IN_FLIGHT && own == id -> st = UNKNOWN; amb = 1
        :: (st == IN_FLIGHT || st == UNKNOWN) && own != id && pr == p -> amb = 1
        :: else -> skip
        fi;
        goto over
    }

complete:
    atomic {
        if
        :: (st == IN_FLIGHT || st == UNKNOWN) && pr == p -> st = DONE /* the first definite answer, whoever brings it */
        :: st == ABSENT -> st = DONE; pr = p; own = id                /* the store had lost it */
        :: else -> skip                                               /* done before; or a conflict: alarm */
        fi
    }

over:
    atomic {
        alive--; p = 0; sent = 0; mine = 0; receipt = 0; heard[id] = 3;
#if REBIND
        moved = 0;
#ifdef MUTANT_REBIND_TWICE
        moved_before = 0;
#endif
#endif
    }
}

/* ---- all others ---- */

proctype World()
{
    byte slot;
    byte q;
#if REBIND
#ifdef MUTANT_REBIND_AMBIGUOUS
#define MAY_BE_BOUND (st == IN_FLIGHT)
#else
#define MAY_BE_BOUND (st == IN_FLIGHT && !amb)
#endif
#endif

end:
    do
    :: atomic { !(r_st == st && r_own == own && r_pr == pr && r_amb == amb) -> r_st = st; r_own = own; r_pr = pr; r_amb = amb }
#if LOSS
    :: atomic { !failed_over -> failed_over = 1; st = r_st; own = r_own; pr = r_pr; amb = r_amb }
#endif
    :: atomic { st == IN_FLIGHT -> st = UNKNOWN; amb = 1 } /* the sweep: its lease is over */
#if REBIND
#ifdef MUTANT_REBIND_ANY_OWNER
    :: atomic { MAY_BE_BOUND && pr == 0 && ((asked[1] | asked[2] | asked[3]) & 2) -> pr = 1 }
#else
    :: atomic { MAY_BE_BOUND && pr == 0 && (asked[own] & 2) -> pr = 1 }
    :: atomic { MAY_BE_BOUND && pr == 1 && (asked[own] & 1) -> pr = 0 }
#endif
#endif
#if VANISH == 1
    :: atomic { st == DONE -> st = ABSENT; own = 0; pr = 0; amb = 0 }
#endif
#if VANISH == 2
    :: atomic { st == UNKNOWN -> st = ABSENT; own = 0; pr = 0; amb = 0 }
#endif
#if OPERATOR
    :: atomic {
        st == UNKNOWN && alive == 0 && ON_ITS_WAY == 0 ->
        if
        :: executed[0] + executed[1] > 0 -> st = DONE
        :: else -> st = ABSENT; own = 0; pr = 0; amb = 0
        fi
    }
#endif
    :: atomic {
        select(slot : 0 .. (TRIES * SENDS - 1));
        if
        :: net[slot] == 0 -> skip
        :: net[slot] != 0 -> net[slot] = 0 /* lost on the way */
        :: net[slot] != 0 ->
            q = net[slot] - 1; net[slot] = 0;
            if
            :: DEDUP(q) && executed[q] > 0 ->         /* the processor's own replay */
                if
                :: heard[slot / SENDS + 1] != 3 -> heard[slot / SENDS + 1] = 1
                :: skip
                fi
            :: !(DEDUP(q) && executed[q] > 0) ->
                executed[q]++;
                assert(executed[0] + executed[1] <= 1);
                if
                :: heard[slot / SENDS + 1] != 3 -> heard[slot / SENDS + 1] = 1
                :: skip                               /* executed, and its answer is lost */
                fi
            :: !(DEDUP(q) && executed[q] > 0) && heard[slot / SENDS + 1] != 3 -> heard[slot / SENDS + 1] = 2 /* refused before anything was done */
            fi
        fi;
        slot = 0; q = 0
    }
    od
}

init {
    byte i;
    atomic {
        i = 1;
        do
        :: i <= TRIES -> run Try(i); i++
        :: else -> break
        od;
        run World()
    }
}
