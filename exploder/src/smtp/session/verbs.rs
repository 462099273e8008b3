//! What each command does, in the phases in which it is allowed (RFC 5321 section 4.1.4).

use super::{Action, Envelope, Hello, Mail, Phase, Session, Transaction};
use crate::smtp::command::{Command, MailParameters};
use crate::smtp::path::{ForwardPath, ReversePath};
use crate::smtp::reply;

impl<T: PartialEq> Session<T> {
    /// Carries out a command; `None` when there is nothing for the caller to do.
    pub(super) fn carry_out<'a>(&mut self, command: Command) -> Option<Action<'a, T>> {
        match command {
            Command::Ehlo(name) => self.hello(Hello { name, extended: true }),
            Command::Helo(name) => self.hello(Hello { name, extended: false }),
            Command::Mail(path, parameters) => self.mail(path, parameters),
            Command::Rcpt(path) => self.rcpt(path),
            Command::Data => self.data(),
            Command::Rset => self.rset(),
            Command::Noop => self.answer(&reply::NOOP),
            Command::Vrfy => self.answer(&reply::VRFY),
            Command::Help => self.answer(&reply::HELP),
            Command::Quit => self.answer(&reply::BYE),
        }
    }

    /// A hello also ends an open transaction (RFC 5321 section 4.1.4).
    fn hello<'a>(&mut self, hello: Hello) -> Option<Action<'a, T>> {
        let host = &self.settings.host;
        let answer = if hello.extended { reply::ehlo(host, self.settings.max_size) } else { reply::helo(host) };
        self.phase = Phase::Idle(hello);
        self.answer(&answer)
    }

    fn mail<'a>(&mut self, reverse_path: ReversePath, parameters: MailParameters) -> Option<Action<'a, T>> {
        let hello = match &self.phase {
            Phase::Idle(hello) => hello.clone(),
            Phase::Connected => return self.answer(&reply::HELLO_FIRST),
            _ => return self.answer(&reply::NESTED_MAIL),
        };
        if !hello.extended && !parameters.is_empty() {
            return self.answer(&reply::UNKNOWN_PARAMETER);
        }
        if parameters.size.is_some_and(|size| size > self.settings.max_size) {
            return self.answer(&reply::too_large(self.settings.max_size));
        }
        if self.messages >= self.settings.max_messages {
            return self.answer(&reply::TOO_MANY_MESSAGES);
        }
        let mail = Mail { hello, reverse_path, parameters };
        self.phase = Phase::Transaction(Transaction { mail, recipients: Vec::new(), mailbox: None, refused: false });
        self.answer(&reply::SENDER_OK)
    }

    fn rcpt<'a>(&mut self, path: ForwardPath) -> Option<Action<'a, T>> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Transaction(transaction) if transaction.recipients.len() >= self.settings.max_recipients => {
                self.phase = Phase::Transaction(transaction);
                self.answer(&reply::TOO_MANY_RECIPIENTS)
            }
            Phase::Transaction(transaction) => {
                let mail = transaction.mail.clone();
                self.phase = Phase::Resolving(transaction, path.clone());
                Some(Action::Recipient(mail, path))
            }
            other => self.out_of_order(other),
        }
    }

    fn data<'a>(&mut self) -> Option<Action<'a, T>> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Transaction(Transaction { mail, recipients, mailbox: Some(mailbox), .. }) => {
                self.phase = Phase::Opening(mail.hello.clone());
                self.messages += 1;
                Some(Action::Begin(Envelope { mail, recipients, mailbox }))
            }
            Phase::Transaction(transaction) => {
                let refused = transaction.refused;
                self.phase = Phase::Transaction(transaction);
                self.answer(&if refused { reply::NO_RECIPIENTS } else { reply::RCPT_FIRST })
            }
            other => self.out_of_order(other),
        }
    }

    fn rset<'a>(&mut self) -> Option<Action<'a, T>> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Transaction(transaction) => Phase::Idle(transaction.mail.hello),
            other => other,
        };
        self.answer(&reply::RESET)
    }

    /// RCPT or DATA outside a transaction.
    fn out_of_order<'a>(&mut self, phase: Phase<T>) -> Option<Action<'a, T>> {
        let connected = matches!(phase, Phase::Connected);
        self.phase = phase;
        self.answer(&if connected { reply::HELLO_FIRST } else { reply::MAIL_FIRST })
    }
}
