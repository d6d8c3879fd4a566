import { createRequire } from 'node:module';
import { LlmoptError } from '../errors.ts';
import type { ChatMessage } from './tokenizer.ts';

// Only who chats pays for these, in time and memory.
const require = createRequire(import.meta.url);
const chatModules = () => ({
  crypto: require('node:crypto') as typeof import('node:crypto'),
  vm: require('node:vm') as typeof import('node:vm'),
  jinja: require('@huggingface/jinja') as typeof import('@huggingface/jinja'),
});

const TIME_LIMIT_MS = 1000;
const OUTPUT_LIMIT = 1_000_000;

/** A piece of a rendered conversation: what the template wrote, or what a message says. */
export interface ChatPiece {
  from: 'template' | 'message';
  text: string;
}

export interface ChatTemplate {
  /**
   * The conversation in pieces. Messages stand in the output where the template put them, so that nothing in them can pass for
   * something that the template wrote.
   * @throws LLMOPT_CHAT_TEMPLATE
   */
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): ChatPiece[];
}

/** The template comes out of the model's file, which nobody has vetted: its time and its output are bounded. */
export function createChatTemplate(
  source: string | undefined,
  file: string,
  tokens: { bos: string; eos: string },
): ChatTemplate {
  const fail = (message: string, hint: string, cause?: unknown): never => {
    throw new LlmoptError('LLMOPT_CHAT_TEMPLATE', `${file}: ${message}`, { where: { file }, hint, cause });
  };
  let template: import('@huggingface/jinja').Template | undefined;

  function renderText(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    if (!source) return fail('the model has no chat template.', 'Use generate() with a prompt of your own.');
    const context = {
      messages,
      add_generation_prompt: addGenerationPrompt,
      bos_token: tokens.bos,
      eos_token: tokens.eos,
    };
    const { vm, jinja } = chatModules();
    const render = () => {
      template ??= new jinja.Template(source);
      return template.render(context);
    };
    try {
      // A time limit on synchronous code is what node:vm is used for here: it interrupts what runs inside, whoever wrote it.
      const output = vm.runInNewContext('render()', { render }, { timeout: TIME_LIMIT_MS });
      if (typeof output !== 'string' || output.length > OUTPUT_LIMIT + inputLength(messages)) {
        return fail(
          'the chat template writes too much.',
          'The template is broken; use generate() with a prompt of your own.',
        );
      }
      return output;
    } catch (cause) {
      if (LlmoptError.isInstance(cause)) throw cause;
      const reason =
        cause instanceof Error || (typeof cause === 'object' && cause && 'message' in cause)
          ? String(cause.message)
          : String(cause);
      return fail(`the chat template failed: ${reason}.`, 'Check the roles and the order of the messages.', cause);
    }
  }

  return {
    render(messages, addGenerationPrompt) {
      checkMessages(messages, fail);
      const nonce = toPrivate(chatModules().crypto.randomUUID());
      const marked = renderText(
        messages.map(({ role }, i) => ({ role, content: `\u{e000}${nonce}\u{e001}${toPrivate(String(i))}\u{e002}` })),
        addGenerationPrompt,
      );
      // Odd pieces are the numbers of messages.
      const pieces = marked
        .split(new RegExp(`\u{e000}${nonce}\u{e001}([\u{e010}-\u{e019}]+)\u{e002}`, 'u'))
        .map(
          (text, i): ChatPiece =>
            i % 2 === 0
              ? { from: 'template', text }
              : { from: 'message', text: messages[Number(fromPrivate(text))]!.content },
        );
      // A template may look into the messages, or change them. Then the real text tells where the marks misled it.
      const real = renderText(
        messages.map(({ role, content }) => ({ role, content })),
        addGenerationPrompt,
      );
      if (pieces.map(({ text }) => text).join('') === real) return pieces;
      const trimmed = pieces.map((piece) => (piece.from === 'message' ? { ...piece, text: piece.text.trim() } : piece));
      if (trimmed.map(({ text }) => text).join('') === real) return trimmed;
      return fail(
        'the chat template changes what the messages say, so that their text cannot be told from its own.',
        'Use generate() with a prompt of your own.',
      );
    },
  };
}

// Marks are made of private-use characters alone, so that no template finds in them, by chance, what it looks for in a message.
const PRIVATE = 0xe010;
const toPrivate = (hex: string) =>
  hex.replaceAll('-', '').replace(/[0-9a-f]/g, (digit) => String.fromCodePoint(PRIVATE + Number.parseInt(digit, 16)));
const fromPrivate = (digits: string) => Array.from(digits, (digit) => digit.codePointAt(0)! - PRIVATE).join('');

function checkMessages(messages: readonly ChatMessage[], fail: (message: string, hint: string) => never): void {
  if (messages.length === 0) fail('the conversation has no messages.', 'Give it at least one.');
  for (const message of messages) {
    if (typeof message?.role !== 'string' || typeof message.content !== 'string') {
      fail('a message is not of the form { role, content } with texts.', 'Give each message a role and a content.');
    }
    // Roles are written by the template as they are: one that holds a special token would pass for the template's own.
    if (!/^[\w-]+$/.test(message.role))
      fail(`${JSON.stringify(message.role)} is no role.`, 'A role is one word, such as user or assistant.');
  }
}

const inputLength = (messages: readonly ChatMessage[]) =>
  messages.reduce((sum, { content }) => sum + content.length, 0);
